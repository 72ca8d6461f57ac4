"""The inputs that a certificate speaks about, and how large things can become among them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.specs import Norm, Perturbations

from ..radii import Proves, largest_radii
from .gates import ReUploadGates, turn_rate


@dataclass(frozen=True)
class Region:
    """Every input centre + δ with |δ_k| ≤ width_k (ℓ∞), or with ‖δ‖₂ ≤ width_k, equal for all k.

    Args:
        norm: Which of the two.
        centre: (n, features) float64.
        width: (n, features) float64.
    """

    norm: Norm
    centre: Tensor
    width: Tensor

    def __getitem__(self, images: Tensor | list[int]) -> Region:
        return Region(self.norm, self.centre[images], self.width[images])

    def linear(self, vectors: Tensor) -> Tensor:
        """max v·δ for vectors (n, features), as (n,)."""
        if self.norm == "linf":
            return (vectors.abs() * self.width).sum(1)
        length: Tensor = torch.linalg.vector_norm(vectors, dim=1)
        return length * self.width[:, 0]

    def quadratic(self, image: int, matrix: Tensor) -> Tensor:
        """At least max |δᵀAδ| of one image, for a symmetric matrix (features, features).

        In ℓ∞ by absolute values; in ℓ2 by the largest row sum of |A| or ‖A⁴‖_F^¼, both of which
        the spectral norm cannot exceed.
        """
        width = self.width[image]
        if self.norm == "linf":
            return width @ matrix.abs() @ width
        square = matrix @ matrix
        power = torch.linalg.matrix_norm(square @ square).sqrt().sqrt()
        return torch.minimum(matrix.abs().sum(1).max(), power) * width[0].square()


def region(x: Tensor, eps: Tensor, perturbations: Perturbations) -> Region:
    """What images x (n, features) can become within eps (n,).

    In ℓ∞ the box cuts the cube, and the region is centred on what is left: a pixel that is 0 can
    only rise, so that half its width remains. In ℓ2 it is the whole ball.
    """
    width = eps[:, None].expand_as(x)
    if perturbations.norm == "l2":
        return Region("l2", x, width)
    low, high = x - width, x + width
    if perturbations.box is not None:
        low, high = low.clamp(min=perturbations.box[0]), high.clamp(max=perturbations.box[1])
    return Region("linf", (low + high) / 2, (high - low) / 2)


def total_turn(gates: ReUploadGates, inside: Region) -> Tensor:
    """At least twice the Bures angle between the states of the centre and of any input, (n,).

    In ℓ∞ the sum of `turn_rate` over the gates, in ℓ2 the width times ‖a‖₂.
    """
    if inside.norm == "linf":
        widths = gates.widths(inside.width)
        return turn_rate(widths.view(len(widths), -1, 3)).sum(1)
    return inside.linear(gates.weights.expand_as(inside.width))


def proved_radii(proves: Proves, n: int, eps: tuple[float, ...]) -> Tensor:
    """The largest radius proved for each of n images.

    Args:
        proves: As in `largest_radii`; asked first which images are classified correctly.
        n: Number of images.
        eps: The budgets that are reported.
    """
    nothing = torch.zeros(n, dtype=torch.float64)
    correct = proves(torch.arange(n), nothing)
    return largest_radii(proves, nothing, torch.where(correct, torch.inf, nothing), eps)
