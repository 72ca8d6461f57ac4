"""A quadratic form over a box: a point where it is small, or a proof that it is positive.

Over z = centre + half · d the form is vᵀ matrix v with v = (1, d), |d_i| ≤ 1. With multipliers
p_i ≥ 0 of d_i² ≤ 1 and S = matrix + diag(−t, p) ⪰ 0,

    vᵀ matrix v ≥ t − Σ p_i d_i² ≥ t − Σ p_i.

The largest of these bounds is the value of Shor's relaxation (Shor 1987), in which the d_i and 1
become vectors, |d_i| ≤ 1: `kernel.descend` solves it in low rank, after Burer & Monteiro (2003) and
Wang, Chang & Kolter (2017, arXiv:1706.00476). Its value settles what the relaxation cannot prove;
its multipliers, raised by what can be spared, prove the rest if S has a Cholesky factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .kernel import descend

_RANK = 6
_APART = 0.3  # of a coordinate's half-width: how far the vectors start from the point
_SWEEPS = (8, 8, 16, 32, 64, 128)  # between one attempt at a proof and the next
_SPARED = 0.5  # of the relaxation's value: what the multipliers are raised by, in sum
_POINT_SWEEPS = 8


def small_point(form: Tensor, centre: Tensor, half: Tensor) -> tuple[float, Tensor]:
    """The least zᵀ form z that coordinate descent finds over |z − centre| ≤ half, and that z.

    Args:
        form: Symmetric (features, features), float64.
        centre, half: (features,).
    """
    z = centre[None].clone()
    value, _ = descend(form.numpy(), centre.numpy(), half.numpy(), z.numpy(), _POINT_SWEEPS)
    return float(value), z[0]


def is_positive(form: Tensor, centre: Tensor, half: Tensor, z: Tensor) -> bool:
    """Whether zᵀ form z > 0 is proved for every |z − centre| ≤ half.

    Args:
        form: Symmetric (features, features), float64.
        centre, half: (features,).
        z: A point of the box, the better the smaller its value.
    """
    index = torch.arange(len(z))
    relaxed = torch.zeros(_RANK, len(z), dtype=z.dtype)
    relaxed[1 + index % (_RANK - 1), index] = _APART * half
    relaxed[0] = centre + (1 - _APART) * (z - centre)
    matrix = homogeneous(form, centre, half)
    for sweeps in _SWEEPS:
        value, multipliers = descend(
            form.numpy(), centre.numpy(), half.numpy(), relaxed.numpy(), sweeps
        )
        if not value > 0:
            return False
        raised = torch.from_numpy(multipliers) + _SPARED * value / len(z)
        if proves(matrix, raised):
            return True
    return False


def proves(matrix: Tensor, multipliers: Tensor) -> bool:
    """Whether the multipliers prove that vᵀ matrix v > 0 over v = (1, d), |d_i| ≤ 1.

    With t = Σ p_i + paid, S ⪰ 0 proves that it is at least `paid`. A Cholesky factor of S is exact
    for a matrix within (N + 1) u tr(S) of S (Higham 2002, Theorem 10.3), and ‖v‖² ≤ N: vᵀSv can
    be below 0 by N times that. Four times as much, of a larger trace, is paid, which covers the
    rounding of the entries and of the sum.

    Args:
        matrix: Symmetric (1 + n, 1 + n), float64.
        multipliers: p, not negative, (n,).
    """
    size, unit = len(matrix), torch.finfo(matrix.dtype).eps
    total = multipliers.sum()
    paid = 4 * size * (size + 1) * unit * (matrix.diagonal().abs().sum() + 2 * total)
    raised = matrix + torch.diag(torch.cat([-(total + paid)[None], multipliers]))
    return int(torch.linalg.cholesky_ex(raised)[1]) == 0


def homogeneous(form: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """The matrix with vᵀ matrix v = zᵀ form z for z = centre + half · d and v = (1, d)."""
    gradient = form @ centre
    matrix = form.new_empty(len(form) + 1, len(form) + 1)
    matrix[0, 0] = gradient @ centre
    matrix[0, 1:] = matrix[1:, 0] = gradient * half
    matrix[1:, 1:] = half[:, None] * form * half
    return matrix
