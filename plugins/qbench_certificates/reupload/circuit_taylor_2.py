"""`circuit-taylor-2`: gradient and Hessian of the margins, and what lies beyond at most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Norm, Perturbations

from ..radii import slack
from .circuit_taylor_1 import margin_slopes
from .curvature import curvature
from .expansion import Room, moved, observe, remainder
from .gates import ReUploadGates, read_gates
from .region import Region, region
from .tangents import run_layers

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
        inside = [region(x, eps.expand(len(x)), perturbations) for eps in budgets]
        margins = [_Margins(gates, one, y) for one in inside]
        low = torch.stack([one.proved() for one in margins]).cummin(0)[0].sum(0) - 1
        high = torch.stack([one.open() for one in margins]).cummin(0)[0].sum(0) - 1
        room = Room.get(gates, _BATCH)
        for budget in range(len(budgets) - 1, 0, -1):
            images = ((low < budget) & (budget <= high)).nonzero()[:, 0]
            images = images[margins[budget].difficulty()[images].argsort(stable=True)]
            failed = 0
            while len(images) and failed < _PATIENCE:
                part, images = images[:_BATCH], images[_BATCH:]
                proved = _proves(margins[budget], part, room)
                low[part] = torch.where(proved, budget, low[part])
                failed = 0 if bool(proved.any()) else failed + len(part)
        return Radii(budgets[low.clamp(min=0)])


class _Margins:
    """Margins (n, classes) on a region, less what their gradients and float32 may take of them.

    Args:
        gates, inside, y: The circuit, region and labels.
    """

    def __init__(self, gates: ReUploadGates, inside: Region, y: Tensor) -> None:
        self.gates, self.inside, self.y = gates, inside, y
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


def _proves(margins: _Margins, images: Tensor, room: Room) -> Tensor:
    gates, inside, y = margins.gates, margins.inside[images], margins.y[images]
    left = margins.left[images]
    layers = run_layers(gates, inside.centre)
    common = moved(gates, layers, inside, room)
    proved = torch.ones(len(images), dtype=torch.bool)
    for other in range(left.shape[1]):
        needed = left[:, other] <= margins.turn[images].square()
        which = (needed & proved).nonzero()[:, 0]
        if not len(which):
            continue
        margin = observe(layers, common, which, y[which], torch.full_like(which, other))
        first, second = remainder(gates, inside, common, margin).bounds()
        spare = left[which, other] - second
        proved[which] = spare > 0
        for k in ((spare > 0) & ~(left[which, other] > first)).nonzero()[:, 0].tolist():
            bent = curvature(gates, inside, common, margin, k)
            proved[which[k]] = spare[k] > bent
    return proved
