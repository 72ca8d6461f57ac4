"""`circuit-taylor-2` in ℓ2: one expansion of each margin about the image, for all radii."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.specs import Perturbations

from ..radii import largest_radii
from .circuit_taylor_1 import margin_slopes
from .curvature import curvature
from .expansion import Moved, mean, moved, observe, remainder, rough_remainder
from .gates import ReUploadGates
from .region import Region, region
from .remainder import Remainder
from .rounding import RegionRounding

_BATCH = 4  # images whose states are held at once


def ball_radii(
    gates: ReUploadGates,
    x: Tensor,
    y: Tensor,
    perturbations: Perturbations,
    rounding: RegionRounding,
) -> Tensor:
    """The ℓ2 radii proved of images x (n, features) with labels y (n,); see `largest_radii`.

    Args:
        gates: The circuit.
        x, y: Images and labels.
        perturbations: Norm and budgets; the box is not used.
        rounding: What evaluation can take from a margin in a region.
    """

    def needed(images: Tensor, radius: Tensor) -> Tensor:
        return rounding(region(x[images], radius, perturbations))

    images = torch.arange(len(x))
    inside = region(x, torch.ones(len(x), dtype=torch.float64), perturbations)
    margins, falls = margin_slopes(gates, inside, y)
    right = margins.amin(1) > needed(images, torch.zeros(len(x), dtype=torch.float64))
    radius = torch.where(right, perturbations.eps[-1], 0.0).double()
    for part in torch.split(images[right], _BATCH) if bool(right.any()) else ():
        balls = _Balls(gates, inside[part], y[part], margins[part], falls[part])

        def paid(items: Tensor, size: Tensor, part: Tensor = part) -> Tensor:
            return needed(part[items], size)

        radius[part] = balls.radii(perturbations.eps, paid)
    return radius


class _Balls:
    """The margins of a few images within balls around them.

    Args:
        gates: The circuit.
        inside: Balls of radius 1. What is found there are forms of first or second degree.
        y: Labels (n,).
        margins: Against every class, (n, classes).
        falls: What gradients take from them within radius 1.
    """

    def __init__(
        self, gates: ReUploadGates, inside: Region, y: Tensor, margins: Tensor, falls: Tensor
    ) -> None:
        self.gates, self.inside, self.y = gates, inside, y
        self.margins, self.falls = margins, falls
        self.turn = inside.linear(gates.weights.expand_as(inside.centre))

    def radii(self, eps: tuple[float, ...], needed: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The largest radii found to be proved, (n,).

        Args:
            eps: The budgets.
            needed: From items and radii to what a margin must exceed.
        """
        order = (self.margins / (self.falls + self.turn[:, None])).argsort(1)  # the label is last
        common = moved(self.gates, self.inside, self.y, order[:, 0])
        radius = torch.full_like(self.turn, eps[-1])
        for other in order.mT[:-1]:
            # What all margins share may prove it; what is the margin's own is found only if not.
            rough = self._rough(common, other)
            left = (~rough.proved(radius, needed)).nonzero()[:, 0]
            if not len(left):
                continue
            margin = self._margin(common, left, other[left])
            high = torch.where(margin.proved(radius[left], needed), 0.0, radius[left])

            def proves(items: Tensor, size: Tensor, margin: _Margin = margin) -> Tensor:
                return margin[items].proved(size, needed)

            found = largest_radii(proves, torch.zeros_like(high), high, eps)
            radius[left] = torch.where(high > 0, found, radius[left])
        return radius

    def _rough(self, common: Moved, other: Tensor) -> _Margin:
        items = torch.arange(len(other))
        rest = rough_remainder(common, items, mean(common, items, self.y, other))
        return self._losing(items, other, rest, torch.full_like(self.turn, torch.inf))

    def _margin(self, common: Moved, items: Tensor, other: Tensor) -> _Margin:
        gates, inside = self.gates, self.inside
        observed = observe(gates, common, items, self.y[items], other)
        rest = remainder(gates, inside, common, observed)
        bends = [curvature(gates, inside, common, observed, k) for k in range(len(items))]
        return self._losing(items, other, rest, torch.stack(bends))

    def _losing(self, items: Tensor, other: Tensor, rest: Remainder, bend: Tensor) -> _Margin:
        margin, fall = self.margins[items, other], self.falls[items, other]
        return _Margin(items, margin, fall, self.turn[items], bend, rest)


@dataclass(frozen=True)
class _Margin:
    """A margin of each of m images, and what it can lose within a ball of radius 1.

    Args:
        items: Which images.
        margin: At the image, (m,).
        fall: By its gradient.
        turn: S, the state's turn.
        bend: By its Hessian, ∞ where that is not known.
        rest: Beyond.
    """

    items: Tensor
    margin: Tensor
    fall: Tensor
    turn: Tensor
    bend: Tensor
    rest: Remainder

    def __getitem__(self, index: Tensor) -> _Margin:
        return _Margin(
            self.items[index],
            self.margin[index],
            self.fall[index],
            self.turn[index],
            self.bend[index],
            self.rest[index],
        )

    def proved(self, radius: Tensor, needed: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Whether it stays above what is needed within radii (m,), (m,) bool."""
        left = self.margin - self.fall * radius - needed(self.items, radius)
        first, second = self.rest.scaled(radius).bounds()
        square = radius.square()
        losses = self.turn.square() * square, first, second + self.bend * square
        return left > torch.stack(losses).amin(0)
