"""Compiled loops about one image's region: linear functions, outputs, and a bound on slopes.

See `linear` and `spectral_pair` for the mathematics. Arrays are C-contiguous float64; `patches`
holds integers.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np

from ..sums import compiled_sums


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
def contenders(rows, patches, a, lower, upper, low, high, radius):
    """`winners`, less the outputs that another of their window exceeds throughout the region."""
    alive = winners(lower, upper)
    positions, size = patches.shape
    difference, point = np.empty(size), np.empty(size)
    for j in range(len(a)):
        if alive[j].sum() == 1:
            continue
        kernel, seen = rows[j // positions], patches[j % positions]
        box_low, box_high = low[seen], high[seen]
        for w in range(4):
            for other in range(4):
                if w == other or not alive[j, w] or not alive[j, other]:
                    continue
                for k in range(size):
                    difference[k] = kernel[w, k] - kernel[other, k]
                ahead = a[j, w] - a[j, other]
                if ahead + support(difference, box_low, box_high, radius, point) < 0:
                    alive[j, w] = False
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
