"""What rounding can take from a margin of a re-uploading circuit within a region."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qbench.specs import Perturbations

from ..rounding import MarginRounding, Precision
from ..statevector import margin_error, state_error
from .gates import ReUploadGates
from .region import Region, region

RegionRounding = Callable[[Region], Tensor]  # from regions (n) to what their margins must exceed


def region_rounding(model: nn.Module, gates: ReUploadGates) -> RegionRounding:
    """The running error bound of a circuit's margins: from regions (n) to what they must exceed.

    Where angles are off by e_j (`angle_rounding`), the state is by at most ½ Σ e_j, beside what the
    engine's own steps add (`state_error`).

    Args:
        model: The model.
        gates: All of its gates, those included that cannot matter.

    Raises:
        Unsupported: In use, nothing is known about how the model's engine rounds.
    """
    precision, circuit, turned = Precision.of(model), gates.circuit, angle_rounding(model, gates)

    def bound(inside: Region) -> Tensor:
        moved = turned(inside) / 2
        if inside.norm == "linf":
            spread = gates.widths(inside.width)
        else:
            spread = torch.linalg.vector_norm(gates.layers, dim=2) * inside.width[:, :1, None]
        theta = gates.angles(inside.centre)[..., 1]
        state = state_error(model, circuit, theta, spread.view(-1, *circuit.angles_shape)[..., 1])
        return margin_error(circuit, precision, state + moved)

    return bound


def angle_rounding(model: nn.Module, gates: ReUploadGates) -> RegionRounding:
    """How far all rotation angles together can be off, Σ e_j (n,), anywhere in regions (n).

    An angle is θ_j plus a sum of weights times pixels, in that many roundings.

    Args:
        model: The model.
        gates: All of its gates.
    """
    precision, sizes = Precision.of(model), _sizes(model, gates)
    weights: Tensor = model.get_parameter("w")
    terms = -(-weights.numel() // len(gates.reading)) + 3

    def bound(inside: Region) -> Tensor:
        largest = inside.centre.abs() + inside.width
        magnitudes = gates.theta.flatten().abs() + largest @ sizes.mT
        return precision.rounded(terms, magnitudes).sum(1)

    return bound


def margin_rounding(
    model: nn.Module, gates: ReUploadGates, x: Tensor, perturbations: Perturbations
) -> MarginRounding:
    """`region_rounding` around images x (n, features), the same for every margin of an image."""
    bound = region_rounding(model, gates)

    def needed(image: Tensor, label: Tensor, other: Tensor, radius: Tensor) -> Tensor:
        return bound(region(x[image], radius, perturbations))

    return needed


def _sizes(model: nn.Module, gates: ReUploadGates) -> Tensor:
    """What |weights| add up to in every reading, (rotations, features).

    Weights that read one feature for one rotation may cancel, in exact arithmetic.
    """
    if not hasattr(model, "reading"):
        return gates.reading.abs()
    positive = copy.deepcopy(model).double().cpu()
    with torch.no_grad():
        positive.get_parameter("w").abs_()
    reading: Tensor = positive.reading().detach()  # type: ignore[operator]
    return torch.maximum(reading.abs(), gates.reading.abs())
