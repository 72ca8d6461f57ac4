"""Certificates that decide one radius and one pair of classes at a time: the search for radii."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .radii import largest_radii
from .rounding import MarginRounding


@dataclass(frozen=True)
class MarginQueries:
    """m questions: is the margin of `label` over `other` positive within `radius` of an image?

    Args:
        image: Which image, (m,).
        label, other: The two classes, (m,).
        radius: (m,) float64.
        least: What the margin must exceed to count as positive, (m,).
    """

    image: Tensor
    label: Tensor
    other: Tensor
    radius: Tensor
    least: Tensor


def margin_radii(
    scores: Tensor,
    y: Tensor,
    eps: tuple[float, ...],
    rounding: MarginRounding,
    proves: Callable[[MarginQueries], Tensor],
) -> Tensor:
    """The largest radius within which all margins of an image are proved, (n,); see `radii`.

    The radius of the closest class is sought first, for all images at once. Every other class is
    then asked about at the radius that is left, where mostly nothing more is to be done.

    Args:
        scores: Of the clean images in float64, (n, classes).
        y: Labels (n,).
        eps: The budgets, ascending.
        rounding: What evaluation can take from a margin within a radius.
        proves: From questions, one of each image at most, to whether each is answered by a proof.
    """
    others = torch.arange(scores.shape[1] - 1).expand(len(y), -1)
    others = others + (others >= y[:, None])
    margins, order = (scores.gather(1, y[:, None]) - scores.gather(1, others)).sort(1)
    others, images = others.gather(1, order), torch.arange(len(y))
    nothing = torch.zeros(len(y), dtype=torch.float64)
    radius = torch.full_like(nothing, torch.inf)
    for other, margin in zip(others.mT, margins.mT, strict=True):  # those that are right as it is
        radius[~(margin > rounding(images, y, other, nothing))] = 0
    for rank, other in enumerate(others.mT):

        def proved(items: Tensor, sizes: Tensor, other: Tensor = other) -> Tensor:
            asked = items, y[items], other[items], sizes
            return proves(MarginQueries(*asked, least=rounding(*asked)))

        if rank:
            left = (radius > 0).nonzero()[:, 0]
            left = left[~proved(left, radius[left])]
        else:
            left = images
        search = torch.zeros_like(radius)
        search[left] = radius[left]
        found = largest_radii(proved, nothing, search, eps)
        radius[left] = found[left]
    return radius
