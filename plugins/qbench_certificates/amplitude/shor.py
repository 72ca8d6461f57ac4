"""ℓ∞ radii from Shor's relaxation, with one multiplier for each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_certificates.radii import largest_radii

from .ball import Box, ball_radii, enclosed, intervals
from .pairwise_margins import PairwiseMargin, pairwise_margins
from .relaxation import is_positive, small_point
from .rounding import usable_radius


class AmplitudeShor:
    """A lower bound of zᵀ form z over the box of a radius, where the ball around it is too coarse.

    What the ball proves, or a descent breaks, needs no relaxation.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radius of each image (`radii.largest_radii`); see `interfaces.RadiusCertifier`.

        Raises:
            Unsupported: The norm is not ℓ∞, or the model is no amplitude encoding circuit.
            DataError: An image is all zero.
            WeightsError: The weights are not finite.
        """
        if perturbations.norm != "linf":
            raise Unsupported("amplitude-shor certifies in linf; use amplitude-exact in l2")
        x = x.detach().double().cpu()
        correct, rivals = pairwise_margins(model, x, y.cpu())
        limit = torch.where(correct, usable_radius(model, x, "linf"), 0.0)
        ball = ball_radii(x, limit, rivals, perturbations)
        broken = limit.clone()  # the smallest radius that a descent has broken

        def proves(images: Tensor, radius: Tensor) -> Tensor:
            eps, asked = torch.zeros_like(limit), torch.zeros_like(correct)
            eps[images], asked[images] = radius, True
            proved, refuted = _decide(x, eps, asked, rivals, perturbations.box)
            broken[refuted] = broken[refuted].minimum(eps[refuted])
            return proved[images]

        radius = largest_radii(proves, ball, limit, perturbations.eps)
        left = ", ".join(
            f"{int(((radius < eps) & (eps < broken)).sum())} at {eps:g}"
            for eps in perturbations.eps
        )
        return Radii(radius, detail=f"neither proved nor broken by a descent: {left}")


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
