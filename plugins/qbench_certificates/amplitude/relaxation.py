"""Lower bounds of a quadratic function over a box: the dual of Shor's relaxation."""

from __future__ import annotations

import torch
from torch import Tensor

_ITERATIONS = 30
_SHRINK = 0.6  # of a step that leaves the cone
_INSIDE = 0.95  # of the way to its edge
_CENTRING = (0.1, 0.4)  # of the gap, after long and after short steps
_LONG = 0.7
_BELOW = 0.05  # of the first multiplier, so that the start is strictly feasible
_DIAGONAL = 0.7  # of the first primal iterate; less than 1


def box_minimum(
    matrix: Tensor, multipliers: Tensor, above: float = torch.inf, tolerance: float = 1e-3
) -> float:
    """A lower bound of vᵀ matrix v over v = (1, d) with |d_i| ≤ 1.

    With S = matrix − diag(μ) ⪰ 0 and μ_i ≤ 0 for i > 0, vᵀ matrix v ≥ vᵀ diag(μ) v ≥ Σ μ_i. A
    primal-dual interior point method makes Σ μ_i large (Helmberg, Rendl, Vanderbei & Wolkowicz
    1996, whose constraints on the diagonal are equations); its largest value is the smallest of
    tr(matrix X) over X ⪰ 0 with X_00 = 1 and X_ii ≤ 1. Every iterate is feasible in the dual, so
    stopping early costs tightness alone, and what a Cholesky factor of S can hide is paid for.

    Args:
        matrix: Symmetric (1 + n, 1 + n), float64.
        multipliers: −μ_i > 0 (n,) to start with; matrix + diag(0, multipliers) must be positive
            definite without its first row and column.
        above: Of interest is whether the bound exceeds this: stop when it does, or when a point of
            the box or of the relaxation shows that it cannot.
        tolerance: Stop when the bound is this close to the largest, relatively.

    Returns:
        The largest bound found; −inf where the start is not feasible.
    """
    factor, feasible = _cholesky(matrix[1:, 1:] + torch.diag(multipliers))
    if not feasible:
        return -torch.inf
    edge = matrix[0, 1:, None]
    allowed = matrix[0, 0] - (edge * torch.cholesky_solve(edge, factor)).sum()
    first = allowed - _BELOW * (allowed.abs() + matrix[0, 0].abs() / 50)
    mu = torch.cat([first[None], -multipliers])
    factor, feasible = _cholesky(matrix - torch.diag(mu))
    if not feasible:
        return -torch.inf
    inverse = torch.cholesky_inverse(factor)
    scale = inverse.diagonal().rsqrt()
    scale[1:] *= _DIAGONAL**0.5
    primal = scale[:, None] * inverse * scale
    best, upper, long = -torch.inf, torch.inf, True
    for _ in range(_ITERATIONS):
        dual = matrix - torch.diag(mu)
        best = max(best, float(mu.sum()) - _hidden(dual))
        value = float((matrix * primal).sum())
        upper = min(upper, value, _rounded(matrix, primal))
        if best > above or upper < above < torch.inf or upper - best <= tolerance * abs(best):
            break
        room = 1 - primal.diagonal()[1:]
        target = _CENTRING[0 if long else 1] * (value - float(mu.sum())) / (len(mu) + len(room))
        step = _newton(primal, inverse, mu, room, target)
        product = (primal * step) @ inverse
        primal_step = target * inverse - primal + (product + product.T) / 2
        forward = _length(dual, -torch.diag(step), -mu[1:], -step[1:])
        backward = _length(primal, primal_step, room, -primal_step.diagonal()[1:])
        long = min(forward, backward) > _LONG
        mu, primal = mu + forward * step, primal + backward * primal_step
        factor, feasible = _cholesky(matrix - torch.diag(mu))
        if not feasible:
            break
        inverse = torch.cholesky_inverse(factor)
    return best


def _newton(primal: Tensor, inverse: Tensor, mu: Tensor, room: Tensor, target: float) -> Tensor:
    """The step of μ towards X S = target · 1 and −μ_i room_i = target, X_ii + room_i = 1."""
    system = primal * inverse
    system.diagonal()[1:] -= room / mu[1:]
    residual = 1 - target * inverse.diagonal()
    residual[1:] += target / mu[1:]
    step: Tensor = torch.linalg.solve_ex(system, residual)[0]  # not finite where it fails
    return step


def _length(matrix: Tensor, matrix_step: Tensor, vector: Tensor, vector_step: Tensor) -> float:
    """A step, at most 1, that keeps the matrix positive definite and the vector positive."""
    length = 1.0
    while length > 1e-6:
        if (
            bool((vector + length * vector_step > 0).all())
            and _cholesky(matrix + length * matrix_step)[1]
        ):
            return length if length == 1 else _INSIDE * length
        length *= _SHRINK
    return 0.0


def _rounded(matrix: Tensor, primal: Tensor) -> float:
    """The function at the primal's first column, a point of the box, or at its nearest corner."""
    point = (primal[0] / primal[0, 0]).clamp(-1, 1)
    corner = torch.where(point < 0, -1.0, 1.0).to(point.dtype)
    return min(float(point @ matrix @ point), float(corner @ matrix @ corner))


def _cholesky(matrix: Tensor) -> tuple[Tensor, bool]:
    factor, info = torch.linalg.cholesky_ex(matrix)
    return factor, int(info) == 0


def _hidden(matrix: Tensor) -> float:
    """How far vᵀ S v can be below 0 for |v_i| ≤ 1, where a Cholesky factor of S was found.

    The factor is exact for a matrix within (N + 1) u tr(S) of S (Higham 2002, Theorem 10.3), and
    ‖v‖² ≤ N; twice that pays for the rounding of the entries of S.
    """
    size, unit = len(matrix), torch.finfo(matrix.dtype).eps
    return 2 * size * (size + 1) * unit * float(matrix.trace())
