"""`circuit-taylor-2`: gradient and Hessian of the margins, and what lies beyond at most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Norm, Perturbations

from ..radii import slack
from .circuit_taylor_1 import margin_slopes
from .curvature import curvature
from .expansion import mean, moved, observe, remainder, rough_remainder
from .gates import ReUploadGates, read_gates
from .region import Region, region

_BATCH = 4  # images whose states are held at once
_PATIENCE = 8  # images that fail in order of difficulty before no more are tried at a budget
# S³ over the remainder of second order; on trained circuits it is 6 to 28 and 2 to 9.
_HOPELESS: dict[Norm, float] = {"linf": 25.0, "l2": 8.0}


class CircuitTaylor2:
    """Proves a radius by margin − max g·δ − ½ max |δᵀHδ| − remainder > 0.

    g and H are the margin's exact gradient and Hessian, and the remainder knows the states along
    the circuit (`remainder`): a third to a tenth of the S³/3 that operator norms alone allow.
    Where the remainder of first order is small enough, H is not computed. In ℓ∞ the expansion is
    about the centre of what the box leaves of the cube, so each budget has its own; in ℓ2 it is
    about the image. Only budgets are decided, from the largest that may be proved down; at each the
    images are tried in order of difficulty, until too many in a row have failed.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The largest budget proved for each image.

        Raises:
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        gates = gates.seen_by(gates.circuit.measured)
        budgets = torch.tensor((0.0, *perturbations.eps), dtype=torch.float64)
        low, high, images = torch.full_like(y, -1), torch.full_like(y, -1), torch.arange(len(y))
        found = []
        for budget, eps in enumerate(budgets):
            inside = region(x[images], eps.expand(len(images)), perturbations)
            margins = _Margins(gates, inside, y[images], images)
            found.append(margins)
            proved = margins.proved() & (low[images] == budget - 1)
            low[images[proved]] = budget
            images = images[margins.open()]
            high[images] = budget
        for budget in range(len(budgets) - 1, 0, -1):
            margins = found[budget]
            wanted = (low < budget) & (budget <= high)
            order = margins.difficulty().argsort(stable=True)
            places = order[wanted[margins.images[order]]]
            failed = 0
            while len(places) and failed < _PATIENCE:
                part, places = places[:_BATCH], places[_BATCH:]
                proved = _proves(margins, part)
                low[margins.images[part[proved]]] = budget
                failed = 0 if bool(proved.any()) else failed + len(part)
        return Radii(budgets[low.clamp(min=0)])


class _Margins:
    """Margins (n, classes) on a region, less what their gradients and float32 may take of them.

    Args:
        gates, inside, y: The circuit, region and labels.
        images: Which of all images these are, (n,).
    """

    def __init__(self, gates: ReUploadGates, inside: Region, y: Tensor, images: Tensor) -> None:
        self.gates, self.inside, self.y, self.images = gates, inside, y, images
        margins, falls, scores = margin_slopes(gates, inside, y)
        self.left = margins - falls - slack(scores)[:, None]
        self.turn = inside.linear(gates.weights.expand_as(inside.centre))

    def proved(self) -> Tensor:
        """Whether nothing more is needed than that no margin curves by more than S², (n,)."""
        return (self.left > self.turn.square()[:, None]).all(1)

    def difficulty(self) -> Tensor:
        """S³ over what gradients leave of the least margin, infinite if that is nothing, (n,)."""
        least = self.left.amin(1)
        return torch.where(least > 0, self.turn.pow(3) / least, torch.inf)

    def open(self) -> Tensor:
        """Whether a proof may succeed, (n,): elsewhere none is tried."""
        return self.difficulty() < _HOPELESS[self.inside.norm]


def _proves(margins: _Margins, places: Tensor) -> Tensor:
    """Whether all margins of some images are proved to stay positive, (len(places),)."""
    gates, inside, y = margins.gates, margins.inside[places], margins.y[places]
    left, order = margins.left[places].sort(1)
    curve = margins.turn[places].square()
    common = moved(gates, inside)
    proved = torch.ones(len(places), dtype=torch.bool)
    for least, other in zip(left.mT, order.mT, strict=True):  # the most difficult margins first
        which = (proved & (least <= curve)).nonzero()[:, 0]
        size = mean(common, which, y[which], other[which])
        rough, _ = rough_remainder(common, which, size).bounds()
        which = which[least[which] <= rough]
        if not len(which):
            continue
        margin = observe(gates, common, which, y[which], other[which])
        first, second = remainder(gates, inside, common, margin).bounds()
        spare = least[which] - second
        proved[which] = spare > 0
        for k in ((spare > 0) & ~(least[which] > first)).nonzero()[:, 0].tolist():
            proved[which[k]] = spare[k] > curvature(gates, inside, common, margin, k)
    return proved
