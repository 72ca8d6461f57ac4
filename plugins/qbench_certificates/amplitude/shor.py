"""ℓ∞ radii from Shor's relaxation, with one multiplier for each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported, UsageError
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .ball import Box, ball_radii, enclosed, intervals
from .pairwise_margins import PairwiseMargin, pairwise_margins
from .relaxation import is_positive, small_point


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
    left: list[tuple[int, tuple[Tensor, Tensor, Tensor, Tensor]]] = []
    for pair in rivals:
        rows = pair.rows[proved[pair.rows]]
        rows = rows[~enclosed(x[rows], eps[rows], box, pair)]
        for row, centre, half in zip(
            rows.tolist(), *intervals(x[rows], eps[rows], box), strict=True
        ):
            value, z = small_point(pair.form, centre, half)
            if value > 0:
                left.append((row, (pair.form, centre, half, z)))
            else:
                proved[row], broken[row] = False, True
    for row, problem in left:
        if proved[row]:
            proved[row] = is_positive(*problem)
    return proved, broken
