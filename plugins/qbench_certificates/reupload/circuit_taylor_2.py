"""`circuit-taylor-2`: gradient and Hessian of the margins, and what lies beyond at most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.statevector import StatevectorEngine
from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Radii
from qbench.specs import Norm, Perturbations

from ..radii import slack
from .circuit_taylor_1 import margin_slopes
from .gates import ReUploadGates, feature_weights, read_gates
from .region import Region, region
from .remainder import moved, remainder
from .tangents import run_layers

_STEP = 1e-4  # of the differences that give Hessians
_BATCH = 8  # images whose states are held at once
# S³ over the remainder of second order; on trained circuits it is 6 to 28 and 2 to 9.
_HOPELESS: dict[Norm, float] = {"linf": 25.0, "l2": 8.0}


class CircuitTaylor2:
    """Proves a radius by margin − max g·δ − ½ max |δᵀHδ| − remainder > 0.

    g and H are the margin's exact gradient and Hessian, and the remainder knows the states along
    the circuit (`remainder`): a third to a tenth of the S³/3 that operator norms alone allow.
    Where the remainder of first order is small enough, H is not computed. In ℓ∞ the expansion is
    about the centre of what the box leaves of the cube, so each budget has its own; in ℓ2 it is
    about the image. Only budgets are decided, by bisection among those that may be proved.
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
        budgets = torch.tensor((0.0, *perturbations.eps), dtype=torch.float64)
        inside = [region(x, eps.expand(len(x)), perturbations) for eps in budgets]
        margins = [_Margins(gates, one, y) for one in inside]
        low = torch.stack([one.proved() for one in margins]).cummin(0)[0].sum(0) - 1
        high = torch.stack([one.open() for one in margins]).cummin(0)[0].sum(0) - 1
        while bool((low < high).any()):
            middle = (low + high + 1) // 2
            for budget in set(middle[low < high].tolist()):
                images = ((low < high) & (middle == budget)).nonzero()[:, 0]
                proved = [_proves(margins[budget], part) for part in torch.split(images, _BATCH)]
                low[images] = torch.where(torch.cat(proved), budget, low[images])
                high[images] = torch.where(torch.cat(proved), high[images], budget - 1)
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
        weights = feature_weights(gates.w, gates.features)
        self.turn = inside.linear(weights.expand_as(inside.centre))

    def proved(self) -> Tensor:
        """Whether nothing more is needed than that no margin curves by more than S², (n,)."""
        return (self.left > self.turn.square()[:, None]).all(1)

    def open(self) -> Tensor:
        """Whether a proof may succeed, (n,): elsewhere none is tried."""
        least = self.turn.pow(3) / _HOPELESS[self.inside.norm]
        return (self.left > least[:, None]).all(1)


def _proves(margins: _Margins, images: Tensor) -> Tensor:
    gates, inside, y = margins.gates, margins.inside[images], margins.y[images]
    left = margins.left[images]
    layers = run_layers(gates, inside.centre)
    common = moved(gates, layers, inside)
    proved = torch.ones(len(images), dtype=torch.bool)
    for other in range(left.shape[1]):
        needed = left[:, other] <= margins.turn[images].square()
        which = (needed & proved).nonzero()[:, 0]
        if not len(which):
            continue
        classes = torch.full_like(which, other)
        beyond = remainder(gates, layers, inside, common, which, y[which], classes)
        first, second = beyond.bounds()
        spare = left[which, other] - second
        proved[which] = spare > 0
        for k in ((spare > 0) & ~(left[which, other] > first)).nonzero()[:, 0].tolist():
            image = int(which[k])
            bent = curvature(gates, inside, image, int(y[image]), other)
            proved[image] = bool(spare[k] > bent)
    return proved


def curvature(gates: ReUploadGates, inside: Region, image: int, y: int, other: int) -> Tensor:
    """At least ½ max |δᵀHδ| for the Hessian H of one image's margin at the centre.

    H comes from central differences of exact gradients. A third derivative along features k, k, k
    and j is at most 2 a_k³ a_j, so a step h errs by at most h²/3 · a_k³ a_j, which is added.
    """
    centre = inside.centre[image]
    steps = _STEP * torch.eye(len(centre), dtype=torch.float64)
    points = torch.cat([centre + steps, centre - steps]).requires_grad_()
    with torch.enable_grad():
        found = StatevectorEngine().probabilities(gates.circuit, gates.angles(points))
        scores = expectations(found)
        (slopes,) = torch.autograd.grad((scores[:, y] - scores[:, other]).sum(), points)
    up, down = torch.split(slopes, len(centre))
    hessian = (up - down) / (2 * _STEP)
    weights = feature_weights(gates.w, gates.features)
    error = _STEP**2 / 3 * torch.outer(weights**3, weights)
    largest = inside.quadratic(image, (hessian + hessian.mT) / 2)
    return (largest + inside.quadratic(image, (error + error.mT) / 2)) / 2
