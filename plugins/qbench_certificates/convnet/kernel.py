"""The compiled parts of `convnet-linear` and `convnet-local`: loops over windows and pixels.

See `linear` and `spectral_pair` for the mathematics. Arrays are C-contiguous float64; `patches`
holds integers.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np

from ..sums import compiled_sums

_DEFLECTION = 1.5  # of the ascent's direction; less than 2
_SPAN, _LEFT = 15, 0.75  # steps in which the gap must shrink to this, or the ascent has no chance
_TRIED = 4  # steps at which a point is sought that refutes
_DOWNHILL = 4  # its moves, at most


@compiled_sums
def support(c, low, high, radius, point):
    """An upper bound on c·δ for low ≤ δ ≤ high, ‖δ‖ ≤ radius; fills `point` with such a δ.

    As `region.Region.largest`: any multiplier of the ball is valid.
    """
    value, length = 0.0, 0.0
    for k in range(len(c)):
        point[k] = high[k] if c[k] > 0 else low[k]
        value += c[k] * point[k]
        length += point[k] * point[k]
    square = radius * radius
    if length <= square:
        return value
    rest = 0.0
    for k in range(len(c)):
        rest += c[k] * c[k]
    mu = np.sqrt(rest / square)
    if not mu > 1e-150:
        point[:] = 0.0
        return value
    for _ in range(5):
        rest, clipped = 0.0, 0.0
        for k in range(len(c)):
            end = high[k] if c[k] > 0 else low[k]
            cut = abs(c[k]) >= mu * abs(end)
            clipped += end * end if cut else 0.0
            rest += 0.0 if cut else c[k] * c[k]
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
        bound += c[k] * point[k] - mu / 2 * point[k] * point[k]
        length += point[k] * point[k]
    if length > square:
        point *= radius / np.sqrt(length)
    return min(value, bound)


@compiled_sums
def concave(v, s, lean, rows, a, low, high, radius, alive, c, point, reached):
    """Least v·max(0, a) − s·a over the patch's region, for v < 0; `reached` is the a that takes it.

    −max over the pieces w that can be largest, and zero, of the largest (|v| e_w + s)·a(δ).

    Args:
        v: Weight of the window.
        s: Its slopes (4,).
        lean: Σ_w s_w rows_w, (patch,).
        rows: (4, patch).
        a: Outputs at the image, (4,).
        low, high, radius: Box (patch,) and ball of the region.
        alive: Which pieces can be the largest, (5,).
        c, point: Room for the patch's pixels, (patch,) each.
        reached: Room for outputs, (4,).
    """
    level = s[0] * a[0] + s[1] * a[1] + s[2] * a[2] + s[3] * a[3]
    worst, winner, last = -np.inf, -1, -1
    for piece in range(5):
        if not alive[piece]:
            continue
        weight, row = (v, piece) if piece < 4 else (0.0, 0)
        value = level - weight * a[row]
        if np.isinf(radius):  # a box needs no point, and nothing is written
            for k in range(len(lean)):
                slope = lean[k] - weight * rows[row, k]
                value += max(slope * low[k], slope * high[k])
        else:
            for k in range(len(lean)):
                c[k] = lean[k] - weight * rows[row, k]
            value += support(c, low, high, radius, point)
            last = piece
        if value > worst:
            worst, winner = value, piece
    if winner != last:
        weight, row = (v, winner) if winner < 4 else (0.0, 0)
        for k in range(len(lean)):
            c[k] = lean[k] - weight * rows[row, k]
        support(c, low, high, radius, point)
    for w in range(4):
        output = a[w]
        for k in range(len(lean)):
            output += rows[w, k] * point[k]
        reached[w] = output
    return -worst


@compiled_sums
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


@compiled_sums
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


@compiled_sums
def winners(lower, upper):
    """Which pieces of max(0, a_j1, …, a_j4) can be the largest, (windows, 5), zero the last."""
    alive = np.ones((len(lower), 5), np.bool_)
    for j in range(len(lower)):
        floor = max(0.0, lower[j].max())
        for piece in range(4):
            alive[j, piece] = upper[j, piece] >= floor
        alive[j, 4] = floor <= 0.0
    return alive


@compiled_sums
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


@compiled_sums
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


@compiled_sums
def undecided(v, alive):
    """The windows that count and have more than one piece that can be the largest."""
    found, count = np.empty(len(v), np.int64), 0
    for j in range(len(v)):
        if v[j] != 0.0 and alive[j].sum() > 1:
            found[count] = j
            count += 1
    return found[:count]


@compiled_sums
def decided(v, rows, patches, a, alive, slope):
    """What the windows with one winner add to the margin at the image; `slope` is its gradient.

    Args:
        v: Weights (windows,).
        rows, patches, a: As in `ascend`.
        alive: Which pieces can be the largest, (windows, 5).
        slope: Room for the pixels, (features,).
    """
    positions = len(patches)
    level = 0.0
    slope[:] = 0.0
    for j in range(len(v)):
        if v[j] == 0.0 or alive[j, 4] or alive[j].sum() > 1:
            continue
        w = alive[j].argmax()
        level += v[j] * a[j, w]
        for k in range(patches.shape[1]):
            slope[patches[j % positions, k]] += v[j] * rows[j // positions, w, k]
    return level


@compiled_sums
def margin(v, level, slope, index, rows, patches, a, delta, outputs):
    """The margin at the image moved by `delta`; `outputs` are those of the windows `index` there.

    Args:
        v: Weights (windows,).
        level, slope: Of the other windows and the offset: level + slope·δ.
        index: Windows (m,).
        rows, patches, a: As in `ascend`.
        delta: (features,).
        outputs: Room for (m, 4).
    """
    positions, size = len(patches), patches.shape[1]
    seen = np.empty(size)
    total = level
    for k in range(len(delta)):
        total += slope[k] * delta[k]
    for n in range(len(index)):
        j = index[n]
        channel, i = j // positions, j % positions
        for k in range(size):
            seen[k] = delta[patches[i, k]]
        largest = 0.0
        for w in range(4):
            output = a[j, w]
            for k in range(size):
                output += rows[channel, w, k] * seen[k]
            outputs[n, w] = output
            largest = max(largest, output)
        total += v[j] * largest
    return total


@compiled_sums
def downhill(v, slope, index, rows, patches, outputs, low, high, radius, delta):
    """Moves `delta` to where the margin would be least if every window kept its winner.

    Args:
        v, slope, index, rows, patches: As in `margin`.
        outputs: Of the windows `index` at `delta`, (m, 4).
        low, high, radius: The region's box (features,), and its ball.
        delta: (features,).
    """
    positions = len(patches)
    c = -slope
    for n in range(len(index)):
        w = outputs[n].argmax()
        if outputs[n, w] > 0:
            j = index[n]
            for k in range(patches.shape[1]):
                c[patches[j % positions, k]] -= v[j] * rows[j // positions, w, k]
    support(c, low, high, radius, delta)


@compiled_sums
def ascend(
    v, constant, rows, patches, a, lower, upper, low, high, radius, enough, aim, steps
):  # fmt: skip
    """A lower bound on constant + Σ_j v_j max(0, a_j) over the region; −∞ where a point refutes it.

    Args:
        v: Weights (windows,).
        constant: Offset of the margin.
        rows: (channels, 4, patch); window j is of channel j // len(patches).
        patches: Pixels of each window of a map, (positions, patch).
        a: Outputs at the image, (windows, 4).
        lower, upper: Bounds on them over the region, (windows, 4) each.
        low, high, radius: The region's box (features,), and its ball.
        enough: The bound above which none better is sought, at or below which a point refutes.
        aim: What Polyak's steps aim at above that.
        steps: Of the ascent, at most.
    """
    positions, size = len(patches), patches.shape[1]
    alive = winners(lower, upper)
    index, slope = undecided(v, alive), np.empty_like(low)
    level = constant + decided(v, rows, patches, a, alive, slope)
    s = start(v, lower, upper)[index]
    box_low, box_high = np.empty((positions, size)), np.empty((positions, size))
    for i in range(positions):
        box_low[i], box_high[i] = low[patches[i]], high[patches[i]]
    reached, outputs, way = np.empty_like(s), np.empty_like(s), np.zeros_like(s)
    lean, room, point = np.empty(size), np.empty(size), np.empty(size)
    delta, history = np.empty_like(low), np.empty(steps + 1)
    best = -np.inf
    for step in range(steps + 1):
        value, c = level, -slope
        for n in range(len(index)):
            j = index[n]
            kernel, i = rows[j // positions], j % positions
            for k in range(size):
                lean[k] = (
                    s[n, 0] * kernel[0, k]
                    + s[n, 1] * kernel[1, k]
                    + s[n, 2] * kernel[2, k]
                    + s[n, 3] * kernel[3, k]
                )
            for k in range(size):
                c[patches[i, k]] -= lean[k]
            for w in range(4):
                value += s[n, w] * a[j, w]
            if v[j] < 0:
                value += concave(
                    v[j], s[n], lean, kernel, a[j], box_low[i], box_high[i], radius, alive[j],
                    room, point, reached[n],
                )  # fmt: skip
            else:
                value += convex(v[j], s[n], lower[j], upper[j], reached[n])
        value -= support(c, low, high, radius, delta)
        best = max(best, value)
        history[step] = best
        stalled = step >= _SPAN and enough - best > _LEFT * (enough - history[step - _SPAN])
        if best > enough or step == steps or stalled:
            return best
        there = margin(v, level, slope, index, rows, patches, a, delta, outputs)
        for n in range(len(index)):
            for w in range(4):
                reached[n, w] = outputs[n, w] - reached[n, w]
        if step < _TRIED:
            for _ in range(_DOWNHILL):
                if there <= enough:
                    break
                downhill(v, slope, index, rows, patches, outputs, low, high, radius, delta)
                before, there = there, margin(
                    v, level, slope, index, rows, patches, a, delta, outputs
                )  # fmt: skip
                if there >= before:
                    break
        if there <= enough:
            return -np.inf
        # The way of the last step is left as far as the gradient turns away from it.
        along, length = 0.0, 0.0
        for n in range(len(index)):
            for w in range(4):
                along -= abs(v[index[n]]) * reached[n, w] * way[n, w]
                length += abs(v[index[n]]) * way[n, w] ** 2
        kept = max(0.0, _DEFLECTION * along / length) if length > 0 else 0.0
        way *= kept
        way += reached
        length = 0.0
        for n in range(len(index)):
            for w in range(4):
                length += abs(v[index[n]]) * way[n, w] ** 2
        if length == 0.0:
            return best
        factor = (enough + aim - value) / length
        for n in range(len(index)):
            for w in range(4):
                s[n, w] += factor * abs(v[index[n]]) * way[n, w]
    return best
