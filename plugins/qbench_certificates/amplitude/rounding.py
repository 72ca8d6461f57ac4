"""What rounding can take from a margin of an amplitude encoding circuit, and where that holds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit

from ..rounding import Precision
from ..statevector import margin_error, state_error


def margin_rounding(model: nn.Module) -> float:
    """The running error bound of the circuit's margins, for every image of a usable length.

    The encoded amplitudes x_i/‖x‖ are off by one rounding each, beside a common factor: the error
    of ‖x‖ scales all scores alike and changes no class. Neither does what follows read x, so one
    number covers all images; see `state_error` for the circuit. Angles that the model computes from
    its parameters are off by what they differ from their values in float64, and a gate turns the
    state by at most half of that.

    Raises:
        Unsupported: Nothing is known about how the model's engine rounds.
    """
    precision, circuit = Precision.of(model), getattr(model, "circuit", None)
    assert isinstance(circuit, Circuit)
    own, exact = (_angles(one) for one in (model, copy.deepcopy(model).double()))
    theta, turned = own[None, ..., 1], (own - exact).abs().sum() / 2
    state = state_error(model, circuit, theta, torch.zeros_like(theta)) + 2 * precision.unit
    state = state + turned
    return float(margin_error(circuit, precision, state))


def _angles(model: nn.Module) -> Tensor:
    """The rotation angles (layers, qubits, 3) that a model runs its circuit with."""
    read: Callable[[], Tensor] | None = getattr(model, "angles", None)
    angles = model.get_parameter("theta") if read is None else read()
    return angles.detach().double().cpu()


def usable_radius(model: nn.Module, x: Tensor, norm: str) -> Tensor:
    """Radii (n,) within which ‖x + δ‖ stays so long that squares do not underflow; 0 where none.

    Args:
        model: The model.
        x: Images (n, features), float64.
        norm: Of δ: in ℓ∞ the largest pixel, in ℓ2 ‖x‖ falls by at most the radius.
    """
    least = 4 * math.sqrt(x.shape[1] * Precision.of(model).tiny)
    order = torch.inf if norm == "linf" else 2.0
    length: Tensor = torch.linalg.vector_norm(x, ord=order, dim=1)
    return (length - least).clamp(min=0)
