"""ℓ∞ radii from Shor's relaxation, with one multiplier for each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported, UsageError
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .ball import Box, ball_radii, enclosed, intervals
from .pairwise_margins import PairwiseMargin, pairwise_margins
from .relaxation import box_minimum

_DESCENT = 40


class AmplitudeShor:
    """A lower bound of zᵀ form z over the box of a budget, where the ball around it is too coarse.

    Each budget is decided, then `bisections` radii more between the largest proved and the
    smallest not proved. What the ball proves, or a descent breaks, needs no relaxation.

    Args:
        bisections: Halvings of each image's interval between two budgets.
    """

    def __init__(self, *, bisections: int = 2) -> None:
        if bisections < 0:
            raise UsageError(f"bisections is {bisections}: give 0 or more")
        self.bisections = bisections

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radius of each image, up to the largest budget; see `interfaces.RadiusCertifier`.

        Raises:
            Unsupported: The norm is not ℓ∞, or the model is no amplitude encoding circuit.
            DataError: An image is all zero.
            WeightsError: The weights are not finite.
        """
        if perturbations.norm != "linf":
            raise Unsupported("amplitude-shor certifies in linf; use amplitude-exact in l2")
        x = x.detach().double().cpu()
        correct, rivals = pairwise_margins(model, x, y.cpu())
        box = perturbations.box
        low = ball_radii(x, correct, rivals, box, perturbations.eps[-1])
        high = torch.where(correct, torch.inf, 0.0).double()
        open_images = []
        for budget in perturbations.eps:
            eps = torch.full_like(low, budget)
            asked = (low < eps) & (eps < high)
            proved, broken = _decide(x, eps, asked, rivals, box)
            low, high = torch.where(proved, eps, low), torch.where(asked & ~proved, eps, high)
            open_images.append(f"{int((asked & ~proved & ~broken).sum())} at {budget:g}")
        for _ in range(self.bisections):
            asked = torch.isfinite(high) & (low < high)
            eps = torch.where(asked, (low + high) / 2, 0.0)
            proved, _ = _decide(x, eps, asked, rivals, box)
            low, high = torch.where(proved, eps, low), torch.where(asked & ~proved, eps, high)
        detail = "neither proved nor broken by a descent: " + ", ".join(open_images)
        return Radii(low, detail=detail)


def _decide(
    x: Tensor, eps: Tensor, asked: Tensor, rivals: list[PairwiseMargin], box: Box
) -> tuple[Tensor, Tensor]:
    """Which of the images asked for are proved at eps (n,), and which a descent has broken."""
    proved, broken = asked.clone(), torch.zeros_like(asked)
    left: list[tuple[int, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]] = []
    for pair in rivals:
        rows = pair.rows[proved[pair.rows]]
        enough, weight = enclosed(x[rows], eps[rows], box, pair)
        rows, weight = rows[~enough], weight[~enough]
        if not len(rows):
            continue
        centre, half = intervals(x[rows], eps[rows], box)
        z, smallest = _descend(pair.form, centre, half)
        broken[rows] |= smallest <= 0
        proved &= ~broken
        for row, *boxed in zip(rows.tolist(), centre, half, z, weight, strict=True):
            left.append((row, (pair.form, *boxed)))
    for row, problem in left:
        if proved[row]:
            proved[row] = _bound(*problem) > 0
    return proved, broken


def _descend(form: Tensor, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """A point z (n, features) of each box with a small zᵀ form z, by signed gradients, and it."""
    z = best = centre
    smallest = torch.full_like(centre[:, 0], torch.inf)
    for step in range(_DESCENT):
        gradient = z @ form
        value = (z * gradient).sum(1)
        best = torch.where((value < smallest)[:, None], z, best)
        smallest = torch.minimum(smallest, value)
        size = 2 * half * (1 - step / _DESCENT)
        z = torch.clamp(z - size * gradient.sign(), centre - half, centre + half)
    return best, smallest


def _bound(form: Tensor, centre: Tensor, half: Tensor, z: Tensor, weight: Tensor) -> float:
    """A lower bound of zᵀ form z over |z − centre| ≤ half, at least as far as its sign.

    It starts from the multipliers that prove a small point z the smallest, if any do: minus the
    gradient along z − centre. To make them strictly feasible, some part of the ball's multipliers
    1/weight, which always are, is added.
    """
    matrix = _homogeneous(form, centre, half)
    gradient = form @ z
    stationary = (-gradient * (z - centre)).clamp(min=0)
    of_ball = half.square() * (1 / weight + 1e-3)
    bound = -torch.inf
    for share in (1 / 64, 1 / 8, 1.05):
        bound = box_minimum(matrix, stationary + share * of_ball, above=0.0)
        if bound > -torch.inf:
            break
    return bound


def _homogeneous(form: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """The matrix with vᵀ matrix v = zᵀ form z for z = centre + half · d and v = (1, d)."""
    gradient = form @ centre
    matrix = form.new_empty(len(form) + 1, len(form) + 1)
    matrix[0, 0] = gradient @ centre
    matrix[0, 1:] = matrix[1:, 0] = gradient * half
    matrix[1:, 1:] = half[:, None] * form * half
    return matrix
