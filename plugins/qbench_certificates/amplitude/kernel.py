"""The compiled parts: a quadratic form made small coordinate by coordinate, and a scalar root.

See `relaxation` and `cone` for the mathematics. Arrays are C-contiguous float64.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np

from ..sums import compiled_sums


@compiled_sums
def descend(form, centre, half, z, sweeps):
    """Moves z, each column in turn to where Σ_r z_r·form·z_r is least within its ball.

    The value never rises.

    Args:
        form: Symmetric (features, features).
        centre: The centre of column i's ball is (centre_i, 0, …, 0), (features,).
        half: Its radius, (features,). With one row, the balls are the sides of a box.
        z: (rank, features), every column in its ball.
        sweeps: How often each column is moved.

    Returns:
        The value at the z reached, and the multipliers (features,) of the balls there, in units of
        half²: −(form·z)_i·(z_i − centre), where that is positive.
    """
    rank, features = z.shape
    pull = np.empty(rank)
    for _ in range(sweeps):
        for i in range(features):
            # In column i the value is own·|z_i|² + 2 pull·z_i.
            own, away = form[i, i], 0.0
            for r in range(rank):
                total = 0.0
                for j in range(features):
                    total += form[i, j] * z[r, j]
                pull[r] = total - own * z[r, i]
                middle = centre[i] if r == 0 else 0.0
                away += (pull[r] + own * middle) ** 2
            if own <= 0.0 and away == 0.0:  # flat, or highest at the centre
                continue
            # From the centre, downhill: to the surface, or to the minimum if that comes before.
            step = half[i] / np.sqrt(away) if away > 0.0 else 0.0
            if own > 0.0:
                step = min(step, 1.0 / own)
            for r in range(rank):
                middle = centre[i] if r == 0 else 0.0
                z[r, i] = middle - step * (pull[r] + own * middle)
    value, multipliers = 0.0, np.empty(features)
    for i in range(features):
        outward = 0.0
        for r in range(rank):
            total = 0.0
            for j in range(features):
                total += form[i, j] * z[r, j]
            value += total * z[r, i]
            outward += total * (z[r, i] - (centre[i] if r == 0 else 0.0))
        multipliers[i] = max(0.0, -outward)
    return value, multipliers


@compiled_sums
def squared_distances(energy, values, halvings):
    """Σ μλ_i e_i / (1 + μλ_i) for the μ of each row of energies e at which it is largest, (n,).

    With t = 1 + μλ_min in (0, 1), 1 + μλ_i = gap_i + t · ratio_i, which keeps the digits of a μ
    next to the end of its interval, where it is in the hard case. As a function of μ it is concave.

    Args:
        energy: (n, features).
        values: λ (features,), ascending, the first of them negative.
        halvings: Of the interval of t.
    """
    ratio, gap = values / values[0], (values[0] - values) / values[0]
    found = np.empty(len(energy))
    for n in range(len(energy)):
        low, high = 0.0, 1.0
        for _ in range(halvings):
            t, slope = (low + high) / 2, 0.0
            for i in range(len(values)):
                slope += values[i] * energy[n, i] / (gap[i] + t * ratio[i]) ** 2
            if slope > 0.0:
                high = t
            else:
                low = t
        total = 0.0
        for i in range(len(values)):
            total += (high - 1) * ratio[i] * energy[n, i] / (gap[i] + high * ratio[i])
        found[n] = total
    return found
