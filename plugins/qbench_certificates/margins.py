"""Radii from Lipschitz bounds of the margins, one for each pair of classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import Perturbations

from .parameters import outward
from .radii import slack


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


def radii(scores: Tensor, y: Tensor, table: Tensor, perturbations: Perturbations) -> Radii:
    """min_c m_c(x) / L_yc, (n,), up to the largest budget; 0 where an image is misclassified.

    Args:
        scores: Of the clean images in float64, (n, classes).
        y: Labels (n,).
        table: L (classes, classes), in the norm of the perturbations.
        perturbations: Norm and budgets; the box is not used.
    """
    margin = scores.gather(1, y[:, None]) - scores - slack(scores)[:, None]
    ratio = (margin / table[y]).scatter(1, y[:, None], torch.inf)  # a constant margin: ±∞ or nan
    radius = ratio.nan_to_num(nan=0.0, posinf=torch.inf).amin(1).clamp(min=0)
    return Radii((radius * (1 - 1e-12)).clamp(max=perturbations.eps[-1]))
