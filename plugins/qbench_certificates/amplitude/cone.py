"""How far a point is from where a quadratic form is not positive."""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 60


def squared_distance(x: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The squared ℓ2 distance (n,) from each x (n, features) to {z: zᵀ form z ≤ 0}.

    For every weight μ ≥ 0 with 1 + μ·form ≻ 0, min_z ‖z − x‖² + μ zᵀ form z bounds it below, and
    the largest of these bounds reaches it (S-lemma). In the eigenbasis it is
    Σ μλ_i x_i² / (1 + μλ_i), concave in μ on (0, −1/λ_min).

    What is returned is that bound at the weight found: were the search to stop early, it would be
    smaller, never wrong. Where x is in the set already it is not positive. The origin, which has
    no encoding, always is in the set; without a negative eigenvalue, the set is the null space.

    Args:
        x: Points, float64.
        values: Eigenvalues of the form (features,), ascending.
        vectors: Its eigenvectors, in columns.

    Returns:
        The squared distances, and the weights μ (infinite without a negative eigenvalue).
    """
    lowest = values[0]
    energy = (x @ vectors).square()
    if lowest >= 0:
        return energy[:, values > 0].sum(1), torch.full_like(x[:, 0], torch.inf)
    # With t = 1 + μλ_min in (0, 1), 1 + μλ_i = gap_i + t · ratio_i, which keeps the digits of a
    # weight next to the end of its interval, where it is in the hard case.
    ratio, gap = values / lowest, (lowest - values) / lowest
    low, high = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    for _ in range(_BISECTIONS):
        t = (low + high) / 2
        rising = (values * energy / (gap + t * ratio).square()).sum(1, keepdim=True) > 0
        low, high = torch.where(rising, low, t), torch.where(rising, t, high)
    bound = ((high - 1) * ratio * energy / (gap + high * ratio)).sum(1)
    return bound, (high[:, 0] - 1) / lowest
