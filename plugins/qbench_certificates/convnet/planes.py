"""Compiled: what lies below one pooled value, and points of the region with a small margin.

See `linear` for the mathematics. Arrays are C-contiguous float64; `patches` holds integers.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np

from ..sums import compiled_sums
from .kernel import support

_DOWNHILL = 4  # moves of a descent, at most


@compiled_sums
def concave(v, plane, rows, a, low, high, radius, alive, c, point):
    """Least v·max(0, a(δ)) − plane·δ over the patch's region, for v < 0; `point` is the δ.

    −max over the pieces w that can be largest, and zero, of the largest (|v| row_w + plane)·δ.

    Args:
        v: Weight of the window.
        plane: Its slopes (patch,).
        rows: (4, patch).
        a: Outputs at the image, (4,).
        low, high, radius: Box (patch,) and ball of the region.
        alive: Which pieces can be the largest, (5,).
        c: Room for (patch,).
        point: Room for the δ, (patch,).
    """
    worst, winner, last = -np.inf, -1, -1
    for piece in range(5):
        if not alive[piece]:
            continue
        weight, row = (v, piece) if piece < 4 else (0.0, 0)
        value = -weight * a[row]
        if np.isinf(radius):  # a box needs no point, and nothing is written
            for k in range(len(plane)):
                slope = plane[k] - weight * rows[row, k]
                middle, half = (high[k] + low[k]) / 2, (high[k] - low[k]) / 2
                value += slope * middle + abs(slope) * half
        else:
            square = 0.0
            for k in range(len(plane)):
                c[k] = plane[k] - weight * rows[row, k]
                square += c[k] * c[k]
            if value + radius * np.sqrt(square) <= worst:  # the ball alone says that it is less
                continue
            value += support(c, low, high, radius, point)
            last = piece
        if value > worst:
            worst, winner = value, piece
    if winner == last:
        return -worst
    weight, row = (v, winner) if winner < 4 else (0.0, 0)
    for k in range(len(plane)):
        c[k] = plane[k] - weight * rows[row, k]
    support(c, low, high, radius, point)
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
def start(v, rows, lower, upper):
    """The slopes to start from: over pixels (windows, patch), and over outputs (windows, 4)."""
    shares, planes = np.zeros_like(lower), np.zeros((len(v), rows.shape[2]))
    positions = len(v) // len(rows)
    for j in range(len(v)):
        if v[j] < 0:
            top = upper[j].argmax()
            rival = max(0.0, lower[j, top])
            for w in range(4):
                if w != top:
                    rival = max(rival, upper[j, w])
            if upper[j, top] > rival:
                share = v[j] * (upper[j, top] - rival) / (upper[j, top] - lower[j, top])
                planes[j] = share * rows[j // positions, top]
        else:
            top = (lower[j] + upper[j]).argmax()
            if lower[j, top] + upper[j, top] > 0:
                shares[j, top] = v[j]
    return planes, shares


@compiled_sums
def settled(v, constant, rows, patches, a, alive, slope):
    """The offset, and what windows with one winner add to the margin at the image.

    Args:
        v: Weights (windows,).
        constant: Offset of the margin.
        rows, patches, a: As in `ascent.ascend`.
        alive: Which pieces can be the largest, (windows, 5).
        slope: Room for the gradient of these windows, (features,).
    """
    positions = len(patches)
    level = constant
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
def margin(v, constant, rows, patches, a, delta, outputs):
    """The margin at the image moved by `delta` (features,); fills `outputs` (windows, 4)."""
    positions, size = patches.shape
    seen, total = np.empty(size), constant
    for i in range(positions):
        for k in range(size):
            seen[k] = delta[patches[i, k]]
        for channel in range(len(rows)):
            j = channel * positions + i
            largest = 0.0
            for w in range(4):
                output = a[j, w]
                for k in range(size):
                    output += rows[channel, w, k] * seen[k]
                outputs[j, w] = output
                largest = max(largest, output)
            total += v[j] * largest
    return total


@compiled_sums
def downhill(v, rows, patches, outputs, low, high, radius, delta):
    """Moves `delta` to where the margin would be least if every window kept its winner.

    Args:
        v, rows, patches: As in `margin`.
        outputs: At `delta`, (windows, 4).
        low, high, radius: The region's box (features,), and its ball.
        delta: (features,).
    """
    positions = len(patches)
    c = np.zeros_like(delta)
    for j in range(len(v)):
        w = outputs[j].argmax()
        if outputs[j, w] > 0:
            for k in range(patches.shape[1]):
                c[patches[j % positions, k]] -= v[j] * rows[j // positions, w, k]
    support(c, low, high, radius, delta)


@compiled_sums
def refutes(v, constant, rows, patches, a, low, high, radius, enough, delta):
    """Whether the margin is at most `enough` at `delta` of the region or a few moves downhill.

    Args:
        v, constant, rows, patches, a: As in `margin`.
        low, high, radius: The region's box (features,), and its ball.
        enough: A margin.
        delta: Where to start (features,); it is moved.
    """
    outputs = np.empty_like(a)
    there = margin(v, constant, rows, patches, a, delta, outputs)
    for _ in range(_DOWNHILL):
        if there <= enough:
            break
        downhill(v, rows, patches, outputs, low, high, radius, delta)
        before, there = there, margin(v, constant, rows, patches, a, delta, outputs)
        if there >= before:
            break
    return there <= enough
