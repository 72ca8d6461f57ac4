"""ℓ∞ radii from the ball around the box of a budget."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.evaluation.crafting import TOLERANCE
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_certificates.radii import largest_radii

from .cone import squared_distance
from .pairwise_margins import PairwiseMargin, pairwise_margins
from .rounding import usable_radius

Box = tuple[float, float] | None


class AmplitudeBall:
    """Largest ε whose pixel intervals lie within the exact ℓ2 radius of their middle.

    The perturbed image is in [max(x − ε, 0), min(x + ε, 1)], a box with centre c and half widths
    h, hence in the ball of radius ‖h‖ around c: a pixel at 0 or 1 counts half.
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
            raise Unsupported("amplitude-ball certifies in linf; use amplitude-exact in l2")
        x = x.detach().double().cpu()
        correct, rivals = pairwise_margins(model, x, y.cpu())
        limit = torch.where(correct, usable_radius(model, x, "linf"), 0.0)
        return Radii(ball_radii(x, limit, rivals, perturbations))


def intervals(x: Tensor, eps: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Centre and half widths, both (n, features), of where x ± eps (n,) meets the box.

    Widened by the tolerance within which a perturbation of float32 images counts as one of ε.
    """
    reach = eps[:, None] * (1 + TOLERANCE)
    low, high = x - reach, x + reach
    if box is not None:
        low, high = low.clamp(min=box[0]), high.clamp(max=box[1])
    return (low + high) / 2, (high - low) / 2


def enclosed(x: Tensor, eps: Tensor, box: Box, pair: PairwiseMargin) -> Tensor:
    """Whether the ball around each image's intervals proves the pair, (m,)."""
    centre, half = intervals(x, eps, box)
    return squared_distance(centre, pair.values, pair.vectors) > half.square().sum(1)


def ball_radii(
    x: Tensor, limit: Tensor, rivals: list[PairwiseMargin], perturbations: Perturbations
) -> Tensor:
    """The ℓ∞ radii (n,), below `limit` (n,), that balls prove of images x (n, features)."""

    def proves(images: Tensor, radius: Tensor) -> Tensor:
        eps, proved = torch.zeros_like(limit), torch.zeros_like(limit, dtype=torch.bool)
        eps[images], proved[images] = radius, True
        for pair in rivals:
            rows = pair.rows[proved[pair.rows]]
            proved[rows] = enclosed(x[rows], eps[rows], perturbations.box, pair)
        return proved[images]

    return largest_radii(proves, torch.zeros_like(limit), limit, perturbations.eps)
