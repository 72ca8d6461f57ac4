"""The `pennylane` engines: a QNode on any PennyLane device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pennylane as qml
import torch
from numpy.typing import NDArray
from pennylane.exceptions import DeviceError
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.engines.sampling import SampledEngine, check_shots, fresh_seed
from qbench.errors import UnknownNameError, UsageError
from qbench.interfaces import Engine
from qbench_engines import host
from qbench_engines.device import check_device_shots
from qbench_engines.pennylane_circuits import difference_method, make_device
from qbench_engines.pennylane_nodes import Nodes, StateGradient, from_correlations
from qbench_engines.progress import shown

MOST_SHOTS = 1_000_000  # of devices that hold every one of them in memory
_SAMPLERS = ("qiskit.basicsim",)  # know no exact probabilities, and sample silently without shots
_UNFIT = (  # no qubits, no rotations, no results, no longer there, or in need of a backend object
    *("default.gaussian", "default.qutrit", "default.qutrit.mixed", "default.clifford"),
    *("null.qubit", "qiskit.basicaer", "qiskit.remote"),
)


def create(device: str, shots: int | None, seed: int) -> Engine:
    """The engine of a PennyLane device, as `factories.pennylane` says."""
    if device not in _names():
        raise UnknownNameError("device of engine 'pennylane'", device, _names())
    name = f"pennylane:{device}"
    check_shots(name, shots)
    try:
        make_device(device, 1)
    except (ImportError, DeviceError, TypeError, ValueError) as error:
        raise UsageError(f"engine {name!r}: {' '.join(str(error).split())}") from error
    if device in _SAMPLERS:
        if shots is None:
            raise UsageError(
                f"engine {name!r} can only sample: give a number of shots, e.g. --shots 4096, or "
                f"MODEL@{name}:4096"
            )
        checked = check_device_shots(name, shots, MOST_SHOTS)
        return SampledPennyLaneEngine(device, checked, seed)
    exact = PennyLaneEngine(device)
    return exact if shots is None else SampledEngine(exact, shots, seed)


def devices() -> list[Mapping[str, Any]]:
    """The installed devices that run these circuits: whether they are exact and differentiable."""
    return [
        {
            "name": name,
            "exact": name not in _SAMPLERS,
            "gradients": difference_method(make_device(name, 1)) or "none",
        }
        for name in _names()
        if _imports(name)
    ]


class PennyLaneEngine:
    """Exact probabilities by a QNode; gradients by the device's own method, backprop or adjoint.

    Args:
        device: PennyLane's name of it.
    """

    exact = True

    def __init__(self, device: str) -> None:
        self.device, self.name = device, f"pennylane:{device}"
        self._method = difference_method(make_device(device, 1))
        self.differentiable = self._method is not None

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires; arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for that the device does not give.
            UsageError: Arguments do not fit the circuit.
        """
        if not self.differentiable:
            reason = "PennyLane has only parameter shifts there, 1536 circuits an image"
            host.refuse_gradients(self.name, reason, angles, state)
        batch = host.read(self.name, circuit, angles, state).batch
        if not batch:
            return angles.new_empty(0, 2 ** len(circuit.measured))
        rows = angles.double().reshape(-1, *circuit.angles_shape)
        rows = rows if len(rows) > 1 else rows[0]
        unit = None
        if state is not None:
            unit = state.double().expand(batch, -1)
            unit = unit / torch.linalg.vector_norm(unit.detach(), dim=1, keepdim=True)
        if self._method == "adjoint":
            found = self._adjoint(circuit, rows, unit)
        else:
            found = _nodes(self.device, circuit).probabilities(rows, unit)
        return found.reshape(batch, -1).to(angles)

    def _adjoint(self, circuit: Circuit, angles: Tensor, state: Tensor | None) -> Tensor:
        # Adjoint differentiation knows expectation values only, and no gradient of a state.
        nodes = _nodes(self.device, circuit)
        fixed = None if state is None else state.detach()
        found: Tensor
        if not (torch.is_grad_enabled() and angles.requires_grad):
            found = nodes.probabilities(angles, fixed)
        else:
            values = torch.stack(tuple(nodes.correlations(angles, fixed)), -1).double()
            found = from_correlations(values)
        if state is None or not (torch.is_grad_enabled() and state.requires_grad):
            return found
        through: Callable[..., Tensor] = StateGradient.apply
        return found + through(nodes, circuit, angles.detach(), state)


class SampledPennyLaneEngine:
    """Relative frequencies of a device that can only sample; without gradients.

    Args:
        device: PennyLane's name of it.
        shots: Runs of each circuit.
        seed: Of all draws.
    """

    exact = False
    differentiable = False

    def __init__(self, device: str, shots: int, seed: int) -> None:
        self.device, self.name, self.shots = device, f"pennylane:{device}", shots
        self._generator = np.random.default_rng(seed)

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Relative frequencies (batch, 2^m); arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for.
            UsageError: Arguments do not fit the circuit.
        """
        host.refuse_gradients(self.name, "PennyLane has only parameter shifts there", angles, state)
        inputs = host.read(self.name, circuit, angles, state)
        rows = [self._one(circuit, inputs.row(i)) for i in shown(range(inputs.batch), self.name)]
        found = np.stack(rows) if rows else np.empty((0, 2 ** len(circuit.measured)))
        return host.write(found, angles)

    def _one(self, circuit: Circuit, inputs: host.Inputs) -> NDArray[np.float64]:
        # The simulator starts its random numbers anew for every circuit: a seed for each.
        seed = fresh_seed(self._generator)
        device = make_device(self.device, circuit.qubits, seed_simulator=seed)
        node = qml.set_shots(Nodes(device, circuit).probabilities, shots=self.shots)
        angles = torch.from_numpy(inputs.angles).reshape(circuit.angles_shape)
        state = None if inputs.state is None else torch.from_numpy(inputs.state[0])
        return np.asarray(node(angles, state))


@cache
def _nodes(device: str, circuit: Circuit) -> Nodes:
    return Nodes(make_device(device, circuit.qubits), circuit)


@cache
def _names() -> tuple[str, ...]:
    found = {entry.name for entry in entry_points(group="pennylane.plugins")}
    return tuple(sorted(found.difference(_UNFIT)))


def _imports(name: str) -> bool:
    try:
        make_device(name, 1)
    except (ImportError, DeviceError):
        return False
    return True
