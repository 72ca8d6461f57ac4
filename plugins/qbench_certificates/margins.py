"""Radii from Lipschitz bounds of the margins, one for each pair of classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import Perturbations

from .parameters import outward
from .rounding import MarginRounding


def pair_bounds(classes: int, bound: Callable[[int, int], float]) -> Tensor:
    """A symmetric table (classes, classes) of bounds on the change of f_y − f_c; 0 where y = c."""
    table = torch.zeros(classes, classes, dtype=torch.float64)
    for y in range(classes):
        for c in range(y):
            table[y, c] = table[c, y] = outward(bound(y, c))
    return table


def largest_pair(table: Tensor, detail: str | None = None) -> LipschitzBound:
    """The bound that holds for every margin."""
    return LipschitzBound(lipschitz=float(table.max()), scope="margin", detail=detail)


def radii(
    scores: Tensor,
    y: Tensor,
    table: Tensor,
    perturbations: Perturbations,
    rounding: MarginRounding,
) -> Radii:
    """min_c m_c(x) / L_yc, (n,), up to the largest budget; 0 where an image is misclassified.

    Args:
        scores: Of the clean images in float64, (n, classes).
        y: Labels (n,).
        table: L (classes, classes), in the norm of the perturbations.
        perturbations: Norm and budgets; the box is not used.
        rounding: What evaluation can take from a margin within a radius.
    """
    radius = torch.full((len(y),), perturbations.eps[-1], dtype=torch.float64)
    for other in range(scores.shape[1]):
        image = (y != other).nonzero()[:, 0]
        label, rival = y[image], torch.full_like(image, other)
        margin, steep = scores[image, label] - scores[image, other], table[label, other]
        within = torch.where(margin > 0, margin / steep, 0.0).minimum(radius[image])
        left = margin - rounding(image, label, rival, within)
        radius[image] = torch.where(left > 0, left / steep, 0.0).minimum(within)
    return Radii(radius * (1 - 1e-12))
