"""Compiled: the ascent of the bound of `linear` over all slopes at once."""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np

from ..sums import compiled_sums
from .kernel import support
from .planes import concave, convex, refutes, settled

_DEFLECTION = 1.5  # of the ascent's direction; less than 2
_PIXELS = 0.5  # size of steps in slopes over pixels, beside those over outputs
_AIM = 0.02  # above `enough`
_PATIENCE, _PROGRESS = 10, 0.1  # steps in which this share of the gap must close, or it is halved
_HOPELESS = 0.1  # of the way to `enough`: a gap below ends the ascent
_TRIED = 4  # first steps at which a point is sought that refutes
_FADING = 0.9  # weight of the earlier minimisers in their mean
_DECIDED, _CONCAVE, _CONVEX = 0, 1, 2


@compiled_sums
def kinds(v, alive):
    """Which bound each window needs, (windows,)."""
    kind = np.zeros(len(v), np.int64)
    for j in range(len(v)):
        if v[j] != 0.0 and alive[j].sum() > 1:
            kind[j] = _CONCAVE if v[j] < 0 else _CONVEX
    return kind


@compiled_sums
def ascend(
    v, constant, rows, patches, a, lower, upper, low, high, radius, alive, planes, shares,
    enough, gap, steps, mean,
):  # fmt: skip
    """A lower bound on constant + Σ_j v_j max(0, a_j) over the region; −∞ where a point refutes it.

    The slopes are left where the bound was best, and `mean` near the minimiser of the relaxation.

    Args:
        v: Weights (windows,).
        constant: Offset of the margin.
        rows: (channels, 4, patch); window j is of channel j // len(patches).
        patches: Pixels of each window of a map, (positions, patch).
        a: Outputs at the image, (windows, 4).
        lower, upper: Bounds on them over the region, (windows, 4) each.
        low, high, radius: The region's box (features,), and its ball.
        alive: Which pieces can be the largest, (windows, 5); the bound is for these pieces alone.
        planes: Slopes of the concave windows, over pixels (windows, patch).
        shares: Slopes of the convex windows, over outputs (windows, 4).
        enough: The bound above which none better is sought, at or below which a point refutes.
        gap: How far above the best bound the steps aim at first; 0 for the way to `enough`.
        steps: Of the ascent, at most.
        mean: Room for the minimiser, (features,).
    """
    positions, size = patches.shape
    kind, slope = kinds(v, alive), np.empty_like(low)
    level = settled(v, constant, rows, patches, a, alive, slope)
    box_low, box_high = np.empty((positions, size)), np.empty((positions, size))
    for i in range(positions):
        box_low[i], box_high[i] = low[patches[i]], high[patches[i]]
    point, reached = np.empty_like(planes), np.empty_like(shares)  # then supergradients
    way, turn = np.zeros_like(planes), np.zeros_like(shares)
    best_planes, best_shares = planes.copy(), shares.copy()
    room, total, seen = np.empty(size), np.empty(size), np.empty(size)
    delta = np.empty_like(low)
    mean[:] = 0.0
    best, mark, waited = -np.inf, -np.inf, 0
    for step in range(steps + 1):
        value, c = level, -slope
        for i in range(positions):
            total[:] = 0.0
            for channel in range(len(rows)):
                j = channel * positions + i
                if kind[j] == _CONCAVE:
                    value += concave(
                        v[j], planes[j], rows[channel], a[j], box_low[i], box_high[i], radius,
                        alive[j], room, point[j],
                    )  # fmt: skip
                    for k in range(size):
                        total[k] += planes[j, k]
                elif kind[j] == _CONVEX:
                    value += convex(v[j], shares[j], lower[j], upper[j], reached[j])
                    for w in range(4):
                        value += shares[j, w] * a[j, w]
                        if shares[j, w] != 0.0:
                            for k in range(size):
                                total[k] += shares[j, w] * rows[channel, w, k]
            for k in range(size):
                c[patches[i, k]] -= total[k]
        value -= support(c, low, high, radius, delta)
        fading = _FADING if step else 0.0
        for k in range(len(delta)):
            mean[k] = fading * mean[k] + (1 - fading) * delta[k]
        if value > best:
            best = value
            best_planes[:], best_shares[:] = planes, shares
        if best > enough:
            break
        if step == 0 and gap == 0.0:
            gap = enough + _AIM - best
        moved = best >= mark + _PROGRESS * gap
        stalled = not moved and waited == _PATIENCE
        if stalled:
            gap /= 2
        waited += 1
        if moved or stalled:
            mark, waited = best, 0
        last = step == steps or gap < _HOPELESS * (enough - best)
        if step < _TRIED and refutes(
            v, constant, rows, patches, a, low, high, radius, enough, delta.copy()
        ):
            return -np.inf
        if (stalled or last) and refutes(
            v, constant, rows, patches, a, low, high, radius, enough, mean.copy()
        ):
            return -np.inf
        if last:
            break
        # The way of the last step is left as far as the gradient turns away from it.
        along, length = 0.0, 0.0
        for i in range(positions):
            for k in range(size):
                seen[k] = delta[patches[i, k]]
            for channel in range(len(rows)):
                j = channel * positions + i
                if kind[j] == _CONCAVE:
                    inner, square = 0.0, 0.0
                    for k in range(size):
                        point[j, k] = seen[k] - point[j, k]
                        inner += point[j, k] * way[j, k]
                        square += way[j, k] * way[j, k]
                    along += _PIXELS * v[j] * inner
                    length -= _PIXELS * v[j] * square
                elif kind[j] == _CONVEX:
                    for w in range(4):
                        output = a[j, w]
                        for k in range(size):
                            output += rows[channel, w, k] * seen[k]
                        reached[j, w] = output - reached[j, w]
                        along -= v[j] * reached[j, w] * turn[j, w]
                        length += v[j] * turn[j, w] ** 2
        kept = max(0.0, _DEFLECTION * along / length) if length > 0 else 0.0
        length = 0.0
        for j in range(len(v)):
            if kind[j] == _CONCAVE:
                square = 0.0
                for k in range(size):
                    way[j, k] = kept * way[j, k] + point[j, k]
                    square += way[j, k] * way[j, k]
                length -= _PIXELS * v[j] * square
            elif kind[j] == _CONVEX:
                for w in range(4):
                    turn[j, w] = kept * turn[j, w] + reached[j, w]
                    length += v[j] * turn[j, w] ** 2
        if length == 0.0:
            break
        factor = (min(enough + _AIM, best + gap) - value) / length
        for j in range(len(v)):
            if kind[j] == _CONCAVE:
                for k in range(size):
                    planes[j, k] -= factor * _PIXELS * v[j] * way[j, k]
            elif kind[j] == _CONVEX:
                for w in range(4):
                    shares[j, w] += factor * v[j] * turn[j, w]
    planes[:], shares[:] = best_planes, best_shares
    return best


@compiled_sums
def losses(v, rows, patches, a, low, high, radius, alive, planes, at):
    """How far each concave window lies above its plane at `at` (features,); −1 for the others."""
    positions, size = patches.shape
    loss = np.full(len(v), -1.0)
    room, point = np.empty(size), np.empty(size)
    kind = kinds(v, alive)
    for j in range(len(v)):
        if kind[j] != _CONCAVE:
            continue
        kernel, seen = rows[j // positions], patches[j % positions]
        below = concave(
            v[j], planes[j], kernel, a[j], low[seen], high[seen], radius, alive[j], room, point
        )
        largest = 0.0 if alive[j, 4] else -np.inf
        for w in range(4):
            if alive[j, w]:
                output = a[j, w]
                for k in range(size):
                    output += kernel[w, k] * at[seen[k]]
                largest = max(largest, output)
        loss[j] = v[j] * largest - below
        for k in range(size):
            loss[j] -= planes[j, k] * at[seen[k]]
    return loss
