"""`circuit-taylor-2` in ℓ∞: an expansion for every radius, and where the last ones say to look."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from qbench.specs import Perturbations

from ..radii import LEAST, largest_radii
from .circuit_taylor_1 import margin_slopes
from .curvature import curvature
from .expansion import mean, moved, observe, remainder, rough_remainder
from .gates import ReUploadGates
from .region import Region, region
from .rounding import RegionRounding

_GROUP = 8  # images that are searched together; the next ones start from what these were like
_BATCH = 4  # images whose states are held at once
_HOPELESS = 25.0  # S³ over the remainder of second order; on trained circuits it is 6 to 28
_USUAL = ((0.2, 0.0, 0.0), (1 / 14, 0.0, 0.0))  # see `_Search`
_ENOUGH = 12  # expansions from which these can be told
_GRID = 600  # radii among which the end of a search is guessed


def box_radii(
    gates: ReUploadGates,
    x: Tensor,
    y: Tensor,
    perturbations: Perturbations,
    rounding: RegionRounding,
) -> Tensor:
    """The ℓ∞ radii proved of images x (n, features) with labels y (n,); see `largest_radii`.

    Args:
        gates: The circuit.
        x, y: Images and labels.
        perturbations: Norm, budgets and box.
        rounding: What evaluation can take from a margin in a region.
    """

    def expand(images: Tensor, eps: Tensor) -> _Margins:
        inside = region(x[images], eps, perturbations)
        return _Margins(gates, inside, y[images], rounding(inside))

    radius, known = torch.zeros(len(x), dtype=torch.float64), torch.empty(0, 3).double()
    for images in torch.split(torch.arange(len(x)), _GROUP):
        search = _Search(expand, images, perturbations.eps, _usual(known))
        radius[images] = search.radii()
        known = torch.cat([known, *search.known])
    return radius


def _usual(known: Tensor) -> Tensor:
    """Parabolas through what expansions have found, (m, 3): the turn S, then what depends on it."""
    if len(known) < _ENOUGH:
        return torch.tensor(_USUAL, dtype=torch.float64)
    turn, losses = known[:, 0], known[:, 1:]
    found: Tensor = torch.linalg.lstsq(_powers(turn), losses).solution
    return found.mT


def _powers(turn: Tensor) -> Tensor:
    return torch.stack([torch.ones_like(turn), turn, turn.square()], -1)


class _Margins:
    """Margins (n, classes) on a region, less what their gradients and rounding may take of them.

    Args:
        gates, inside, y: The circuit, region and labels.
        needed: What a margin must exceed, (n,).
    """

    def __init__(self, gates: ReUploadGates, inside: Region, y: Tensor, needed: Tensor) -> None:
        self.gates, self.inside, self.y = gates, inside, y
        margins, falls = margin_slopes(gates, inside, y)
        self.left = margins - falls - needed[:, None]
        self.least = self.left.amin(1)
        self.turn = inside.linear(gates.weights.expand_as(inside.centre))

    def proved(self) -> Tensor:
        """Whether nothing more is needed than that no margin curves by more than S², (n,)."""
        return self.least > self.turn.square()

    def open(self) -> Tensor:
        """Whether a proof may succeed, (n,): elsewhere none is tried."""
        return _open(self.least, self.turn)


def _open(least: Tensor, turn: Tensor) -> Tensor:
    return (least > 0) & (turn.pow(3) < _HOPELESS * least)


class _Search:
    """The search for the radii of a group of images.

    Of the least margin, gradient and rounding leave what is computed at every budget, and
    interpolated between them. The Hessian and the remainder take a S² and b S³ of that. First, a
    and b are parabolas in S as in earlier groups; once an image has been expanded, they and the
    margin are shifted to what they were there.

    Args:
        expand: From images and radii to their margins.
        images: The group, (n,).
        eps: The budgets.
        usual: Coefficients of a and b as polynomials in S, (2, 3).
    """

    def __init__(
        self,
        expand: Callable[[Tensor, Tensor], _Margins],
        images: Tensor,
        eps: tuple[float, ...],
        usual: Tensor,
    ) -> None:
        self.expand, self.images, self.eps = expand, images, eps
        rungs = torch.tensor((LEAST * eps[0], *eps), dtype=torch.float64)
        between = (rungs[1:] * rungs[:-1]).sqrt()
        self.nodes = torch.cat([rungs.new_zeros(1), rungs, between]).sort().values
        margins = [expand(images, node.expand(len(images))) for node in self.nodes]
        self.least = torch.stack([of.least for of in margins], 1)
        self.turn = torch.stack([of.turn for of in margins], 1)
        low, high = math.log2(rungs[0]), math.log2(rungs[-1])
        self.grid = torch.logspace(low, high, _GRID, 2, dtype=torch.float64)
        self.usual, self.known = usual, list[Tensor]()
        self.shift = torch.zeros(len(images), 3, dtype=torch.float64)  # of the margin, a and b

    def radii(self) -> Tensor:
        """The largest radii found to be proved, (n,)."""
        nothing = torch.zeros_like(self.shift[:, 0])
        high = torch.where(self.least[:, 0] > 0, torch.inf, nothing)
        return largest_radii(self._proves, nothing, high, self.eps, self._guess)

    def _proves(self, items: Tensor, eps: Tensor) -> Tensor:
        margins = self.expand(self.images[items], eps)
        proved = margins.proved()
        tried = (~proved & margins.open()).nonzero()[:, 0]
        for part in torch.split(tried, _BATCH) if len(tried) else ():
            proved[part], bend, rest = _proves(margins, part)
            of, turn = items[part], margins.turn[part, None]
            losses = torch.cat([bend[:, None] / turn**2, rest[:, None] / turn**3], 1)
            least = margins.least[part, None] - self._interpolated(self.least[of], eps[part, None])
            self.shift[of] = torch.cat([least, losses - self._losses(turn[:, 0])], 1)
            self.known.append(torch.cat([turn, losses], 1))
        return proved

    def _losses(self, turn: Tensor) -> Tensor:
        """The usual a and b for turns (...), (..., 2)."""
        return _powers(turn) @ self.usual.mT

    def _guess(self, items: Tensor) -> Tensor:
        least, turn = (
            self._interpolated(values[items], self.grid.repeat(len(items), 1))
            for values in (self.least, self.turn)
        )
        shift = self.shift[items, None]
        bend, rest = (self._losses(turn) + shift[..., 1:]).unbind(-1)
        least = least + shift[..., 0]
        losses = bend * turn.square() + rest * turn.pow(3)
        proved = ((least > losses) & _open(least, turn)).long().cumprod(1).sum(1)
        found: Tensor = self.grid[(proved - 1).clamp(min=0)]
        return found

    def _interpolated(self, values: Tensor, radius: Tensor) -> Tensor:
        """Values (n, nodes) at radii (n, m)."""
        after = torch.searchsorted(self.nodes, radius.contiguous()).clamp(1, len(self.nodes) - 1)
        start, end = self.nodes[after - 1], self.nodes[after]
        share = (radius - start) / (end - start)
        return values.gather(1, after - 1) * (1 - share) + values.gather(1, after) * share


def _proves(margins: _Margins, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether all margins of some images are proved to stay positive, (len(places),).

    Returns:
        That; and how much the Hessian and the remainder can take of the least margin of each.
    """
    gates, inside, y = margins.gates, margins.inside[places], margins.y[places]
    left, order = margins.left[places].sort(1)
    every, curve = torch.arange(len(places)), margins.turn[places].square()
    common = moved(gates, inside, y, order[:, 0])
    margin = observe(gates, common, every, y, order[:, 0])
    first, second = remainder(gates, inside, common, margin).bounds()
    bends = torch.stack([curvature(gates, inside, common, margin, k) for k in every.tolist()])
    proved = left[:, 0] > torch.minimum(first, second + bends)
    for least, other in zip(left.mT[1:], order.mT[1:], strict=True):
        which = (proved & (least <= curve)).nonzero()[:, 0]
        size = mean(common, which, y[which], other[which])
        rough, _ = rough_remainder(common, which, size).bounds()
        which = which[least[which] <= rough]
        if not len(which):
            continue
        rival = observe(gates, common, which, y[which], other[which])
        near, far = remainder(gates, inside, common, rival).bounds()
        proved[which] = least[which] > near
        for k in ((least[which] <= near) & (least[which] > far)).nonzero()[:, 0].tolist():
            bend = curvature(gates, inside, common, rival, k)
            proved[which[k]] = least[which[k]] > far[k] + bend
    return proved, bends, second
