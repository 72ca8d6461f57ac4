"""Certificates that decide one budget and one pair of classes at a time: the search for radii."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .radii import candidate_radii, largest_rung, slack
from .region import Region

_BETWEEN = 8  # radii tried from one reported budget to the next


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

    def __getitem__(self, index: Tensor) -> MarginQueries:
        """The questions at `index`."""
        return MarginQueries(
            self.image[index],
            self.label[index],
            self.other[index],
            self.radius[index],
            self.least[index],
        )

    def shared(self, region: Region, rows: Tensor) -> tuple[Tensor, Tensor]:
        """`region.interval(rows)`, computed once for neighbouring questions about one image."""
        _, index, count = torch.unique_consecutive(
            self.image, return_inverse=True, return_counts=True
        )
        below, above = region[count.cumsum(0) - count].interval(rows)
        return below[index], above[index]

    def closest(self, chosen: Tensor) -> Tensor:
        """The first of each image's chosen questions (m,), as indices."""
        index = chosen.nonzero()[:, 0]
        image = self.image[index]
        first = torch.ones_like(image, dtype=torch.bool)
        first[1:] = image[1:] != image[:-1]
        return index[first]


def largest_candidates(
    scores: Tensor, y: Tensor, eps: tuple[float, ...], proves: Callable[[MarginQueries], Tensor]
) -> Tensor:
    """The largest rung proved for each image, (n,), by bisection; 0 where there is none.

    Args:
        scores: Of the clean images in float64, (n, classes).
        y: Labels (n,).
        eps: The budgets that are reported, which are among the candidates.
        proves: From questions to whether each is answered by a proof, (m,). An image's questions
            follow each other, the closest class first; once one stays open, later ones may, too.
    """
    least = slack(scores)
    others = torch.arange(scores.shape[1] - 1).expand(len(y), -1)
    others = others + (others >= y[:, None])
    margin, order = (scores.gather(1, y[:, None]) - scores.gather(1, others)).sort(1)
    others = others.gather(1, order)

    def all_proved(images: Tensor, radius: Tensor) -> Tensor:
        each = images.repeat_interleave(others.shape[1])
        questions = MarginQueries(
            image=each,
            label=y[each],
            other=others[images].flatten(),
            radius=radius.repeat_interleave(others.shape[1]),
            least=least[each],
        )
        return proves(questions).view(len(images), -1).all(1)

    return largest_rung(all_proved, candidate_radii(eps, _BETWEEN), margin.amin(1) > least)
