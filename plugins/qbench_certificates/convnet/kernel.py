"""The compiled parts of `convnet-linear` and `convnet-local`: loops over windows and pixels.

See `linear` and `spectral_pair` for the mathematics. Arrays are C-contiguous float64; `patches`
holds integers.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np
from numba import njit

_SUMS = {"reassoc", "contract"}  # sums in any order, so that they use vector registers


def _cached(function):
    try:
        return njit(nogil=True, cache=True, fastmath=_SUMS)(function)
    except RuntimeError:  # no folder to write to: compiled anew in each process
        return njit(nogil=True, fastmath=_SUMS)(function)


@_cached
def support(c, low, high, radius, point):
    """An upper bound on c·δ for low ≤ δ ≤ high, ‖δ‖ ≤ radius; fills `point` with such a δ.

    As `region.Region.largest`: any multiplier of the ball is valid.
    """
    value, length = 0.0, 0.0
    for k in range(len(c)):
        point[k] = high[k] if c[k] > 0 else low[k]
        value += c[k] * point[k]
        length += point[k] ** 2
    square = radius * radius
    if length <= square:
        return value
    rest = 0.0
    for k in range(len(c)):
        rest += c[k] ** 2
    mu = np.sqrt(rest / square)
    if not mu > 1e-150:
        point[:] = 0.0
        return value
    for _ in range(5):
        rest, clipped = 0.0, 0.0
        for k in range(len(c)):
            step = c[k] / mu
            if step >= high[k]:
                clipped += high[k] ** 2
            elif step <= low[k]:
                clipped += low[k] ** 2
            else:
                rest += c[k] ** 2
        if rest == 0.0 or clipped >= square:
            break
        new = np.sqrt(rest / (square - clipped))
        done = new > mu * (1 - 1e-6)
        mu = min(mu, new)
        if done:
            break
    bound, length = mu * square / 2, 0.0
    for k in range(len(c)):
        point[k] = min(max(c[k] / mu, low[k]), high[k])
        bound += c[k] * point[k] - mu / 2 * point[k] ** 2
        length += point[k] ** 2
    if length > square:
        point *= radius / np.sqrt(length)
    return min(value, bound)


@_cached
def concave(v, s, rows, a, low, high, radius, alive, point, reached):
    """Least v·max(0, a) − s·a over the patch's region, for v < 0; `reached` is the a that takes it.

    −max over the pieces w that can be largest, and zero, of the largest (|v| e_w + s)·a(δ).
    """
    worst = -np.inf
    c, trial = np.empty(len(low)), np.empty(len(low))
    for piece in range(5):
        if not alive[piece]:
            continue
        c[:] = 0.0
        value = 0.0
        for w in range(4):
            factor = s[w] - (v if w == piece else 0.0)
            if factor != 0.0:
                value += factor * a[w]
                for k in range(len(c)):
                    c[k] += factor * rows[w, k]
        value += support(c, low, high, radius, trial)
        if value > worst:
            worst = value
            point[:] = trial
    for w in range(4):
        reached[w] = a[w]
        for k in range(len(c)):
            reached[w] += rows[w, k] * point[k]
    return -worst


@_cached
def convex(v, s, lower, upper, reached):
    """Least v·max(0, a) − s·a over lower ≤ a ≤ upper, for v ≥ 0; `reached` is that a.

    With t = max(0, a) given, every a_w with s_w > 0 rises to min(t, upper_w) and the others stay at
    lower_w: piecewise linear in t, so that a breakpoint is best.
    """
    start = max(0.0, lower.max())
    best, chosen = np.inf, start
    for piece in range(5):
        t = start if piece == 4 else max(start, upper[piece])
        value = v * t
        for w in range(4):
            value -= s[w] * (min(t, upper[w]) if s[w] > 0 else lower[w])
        if value < best:
            best, chosen = value, t
    for w in range(4):
        reached[w] = min(chosen, upper[w]) if s[w] > 0 else lower[w]
    return best


@_cached
def spans(rows, patches, a, low, high, radius):
    """Bounds below and above on the outputs a (windows, 4) of one image over its region."""
    lower, upper = np.empty_like(a), np.empty_like(a)
    positions = len(patches)
    point = np.empty(patches.shape[1])
    for j in range(len(a)):
        seen = patches[j % positions]
        box_low, box_high = low[seen], high[seen]
        for w in range(4):
            row = rows[j // positions, w]
            lower[j, w] = a[j, w] - support(-row, box_low, box_high, radius, point)
            upper[j, w] = a[j, w] + support(row, box_low, box_high, radius, point)
    return lower, upper


@_cached
def winners(lower, upper):
    """Which pieces of max(0, a_j1, …, a_j4) can be the largest, (windows, 5), zero the last."""
    alive = np.ones((len(lower), 5), np.bool_)
    for j in range(len(lower)):
        floor = max(0.0, lower[j].max())
        for piece in range(4):
            alive[j, piece] = upper[j, piece] >= floor
        alive[j, 4] = floor <= 0.0
    return alive


@_cached
def steepest(v, products, alive):
    """The bound √Σ_jk max v_j v_k A_jw·A_kw' on the slope of a margin: see `spectral_pair`.

    Args:
        v: Weights (windows,).
        products: A_jw·A_kw', (windows, 4, windows, 4).
        alive: Which pieces can be the largest, (windows, 5).
    """
    total = 0.0
    for j in range(len(v)):
        for k in range(j + 1):
            weight = v[j] * v[k]
            best = 0.0 if alive[j, 4] or alive[k, 4] else -np.inf
            for w in range(4):
                if alive[j, w]:
                    for other in range(4):
                        if alive[k, other]:
                            best = max(best, weight * products[j, w, k, other])
            total += best if j == k else 2 * best
    return np.sqrt(max(total, 0.0))


@_cached
def start(v, lower, upper):
    """The slopes s (windows, 4) to start from."""
    s = np.zeros_like(lower)
    for j in range(len(v)):
        if v[j] < 0:
            top = upper[j].argmax()
            rival = max(0.0, lower[j, top])
            for w in range(4):
                if w != top:
                    rival = max(rival, upper[j, w])
            if upper[j, top] > rival:
                s[j, top] = v[j] * (upper[j, top] - rival) / (upper[j, top] - lower[j, top])
        else:
            top = (lower[j] + upper[j]).argmax()
            if lower[j, top] + upper[j, top] > 0:
                s[j, top] = v[j]
    return s


@_cached
def ascend(v, constant, rows, patches, a, low, high, radius, enough, aim, steps):
    """A lower bound on constant + Σ_j v_j max(0, a_j) over the region; −∞ where a point refutes it.

    Args:
        v: Weights (windows,).
        constant: Offset of the margin.
        rows: (channels, 4, patch); window j is of channel j // len(patches).
        patches: Pixels of each window of a map, (positions, patch).
        a: Outputs at the image, (windows, 4).
        low, high, radius: The region's box (features,), and its ball.
        enough: The bound above which none better is sought, at or below which a point refutes.
        aim: What Polyak's steps aim at above that.
        steps: Of the ascent.
    """
    windows, positions, size = len(v), len(patches), patches.shape[1]
    lower, upper = spans(rows, patches, a, low, high, radius)
    alive, s = winners(lower, upper), start(v, lower, upper)
    box_low, box_high = np.empty((positions, size)), np.empty((positions, size))
    for i in range(positions):
        box_low[i], box_high[i] = low[patches[i]], high[patches[i]]
    reached, delta, point = np.empty_like(a), np.empty_like(low), np.empty(size)
    best = -np.inf
    for step in range(steps + 1):
        value, c = constant, np.zeros_like(low)
        for j in range(windows):
            kernel, i = rows[j // positions], j % positions
            if v[j] < 0:
                value += concave(
                    v[j], s[j], kernel, a[j], box_low[i], box_high[i], radius, alive[j], point,
                    reached[j],
                )  # fmt: skip
            else:
                value += convex(v[j], s[j], lower[j], upper[j], reached[j])
            for w in range(4):
                if s[j, w] != 0.0:
                    value += s[j, w] * a[j, w]
                    for k in range(size):
                        c[patches[i, k]] -= s[j, w] * kernel[w, k]
        value -= support(c, low, high, radius, delta)
        best = max(best, value)
        if best > enough or step == steps:
            return best
        margin, square = constant, 0.0
        for j in range(windows):
            kernel, i = rows[j // positions], j % positions
            largest = 0.0
            for w in range(4):
                output = a[j, w]
                for k in range(size):
                    output += kernel[w, k] * delta[patches[i, k]]
                largest = max(largest, output)
                reached[j, w] = output - reached[j, w]
                square += reached[j, w] ** 2
            margin += v[j] * largest
        if margin <= enough:
            return -np.inf
        if square == 0.0:
            return best
        s += (enough + aim - value) / square * reached
    return best
