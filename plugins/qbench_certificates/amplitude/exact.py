"""The ℓ2 radius: exact without a box, and mostly with one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .boxed import squared_distance_in_box
from .cone import squared_distance
from .pairwise_margins import PairwiseMargin, pairwise_margins
from .rounding import usable_radius

_ROUNDING = 1e-9  # relative; of the distances in float64


class AmplitudeExact:
    """The distance to the nearest tie of the label with any rival, or to the origin.

    Without a box no larger number is right, but for the slack. With one, the nearest tie is sought
    within it: no larger number is right for an image whose bound is reached (see
    `boxed.squared_distance_in_box`).
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radius of each image; see `interfaces.RadiusCertifier`.

        Raises:
            Unsupported: The norm is not ℓ2, or the model is no amplitude encoding circuit.
            DataError: An image is all zero.
            WeightsError: The weights are not finite.
        """
        if perturbations.norm != "l2":
            raise Unsupported("amplitude-exact certifies in l2; use amplitude-shor in linf")
        x = x.detach().double().cpu()
        correct, rivals = pairwise_margins(model, x, y.cpu())
        radius = exact_radii(x, correct, rivals, perturbations.box)
        return Radii(radius.minimum(usable_radius(model, x, perturbations.norm)))


def exact_radii(
    x: Tensor, correct: Tensor, rivals: list[PairwiseMargin], box: tuple[float, float] | None
) -> Tensor:
    """The ℓ2 radii (n,) of images x (n, features) of the box; 0 where not correct."""
    squared = torch.where(correct, torch.inf, 0.0).double()
    for pair in rivals:
        rows = pair.rows
        own = squared_distance(x[rows], pair.values, pair.vectors)
        if box is not None:
            inside, _ = squared_distance_in_box(x[rows], pair.form, pair.values, box)
            own = torch.maximum(own, inside)
        squared[rows] = torch.minimum(squared[rows], own)
    return squared.clamp(min=0).sqrt() * (1 - _ROUNDING)
