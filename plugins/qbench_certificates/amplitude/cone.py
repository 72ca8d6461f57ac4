"""How far a point is from where a quadratic form is not positive."""

from __future__ import annotations

import torch
from torch import Tensor

from .kernel import squared_distances

_HALVINGS = 60


def squared_distance(x: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
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
    """
    energy = (x @ vectors).square()
    if values[0] >= 0:
        return energy[:, values > 0].sum(1)
    found = squared_distances(energy.numpy(), values.numpy(), _HALVINGS)
    return torch.from_numpy(found)
