"""A PennyLane circuit as a module: its gates with their values, written down image after image.

A QNode is a function, and its gates' parameters are tensors made from inputs and weights. They are
recorded at every call, so that the chain rule is torch's; the gates themselves never change.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import pennylane as qml
import torch
from pennylane.measurements import MidMeasureMP
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.gates import GateSequence
from qbench.errors import UsageError
from qbench.interfaces import Engine
from qbench.text import one_line
from qbench_circuits.layer import CircuitLayer, check_size, filled, refuse
from qbench_circuits.pennylane_readout import Readout

_STATES = ("StatePrep", "AmplitudeEmbedding")
_NOTHING = ("Barrier", "GlobalPhase", "Identity", "Snapshot", "WireCut")
_GATES = {"RX", "RY", "RZ", "Rot", "PhaseShift", "Hadamard", "CNOT", *_STATES, *_NOTHING}
_PROBES = 3  # made-up images by which a batch is compared with single ones

Turned = tuple[Tensor, Tensor | None]  # angles and initial states
Asked = tuple[Circuit, Tensor, Tensor | None]


class PennyLaneLayer(CircuitLayer):
    """A QNode that an engine runs; arguments as in `qbench_circuits.from_pennylane`."""

    def __init__(
        self,
        circuit: Any,
        features: int,
        weights: Mapping[str, Any] | None = None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(features, engine)
        if isinstance(circuit, qml.qnn.TorchLayer):
            if weights is not None:
                raise UsageError("a TorchLayer has its weights already: leave them out")
            circuit, weights = circuit.qnode, dict(circuit.qnode_weights)
        if not isinstance(circuit, qml.QNode):
            raise UsageError(f"{type(circuit).__name__} is no QNode and no TorchLayer")
        self.qnode = circuit
        self.what = f"the QNode {getattr(circuit.func, '__name__', 'circuit')!r}"
        start = {name: _start(value) for name, value in (weights or {}).items()}
        self.weights = nn.ParameterDict(start)
        self._input = _input_of(circuit, start, self.what)
        probes = torch.rand(_PROBES, features, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            self._circuit, readout = self._recorded(probes[0])[2:]
            self.register_buffer("readout", readout, persistent=False)
            alone = [self._of_one_call(image, 1)[1:] for image in probes]
            if all(_equal(alone[0], other) for other in alone):
                refuse(self.what, f"is the same for all images: {self._input!r} turns no gate")
            self._batched = self._takes_batches(probes, alone)

    def asked(self, x: Tensor) -> Asked:
        """The circuit, its angles and initial states for images x (n, features)."""
        if self._batched and len(x):
            return self._of_one_call(x, len(x))
        each = [self._of_one_call(image, 1) for image in x]
        angles = [angles for _, angles, _ in each]
        states = [state for _, _, state in each if state is not None]
        none = x.new_zeros(0, *self._circuit.angles_shape)
        return self._circuit, torch.cat([none, *angles]), torch.cat(states) if states else None

    def _of_one_call(self, x: Tensor, n: int) -> Asked:
        angles, state, circuit, _ = self._recorded(x)
        if circuit != self._circuit:
            refuse(self.what, "is another circuit for other images: only angles may depend on them")
        images = x.reshape(n, -1)
        if state is not None:
            state = state.expand(n, -1)
        return circuit, filled(circuit, angles, images), state

    def _takes_batches(self, probes: Tensor, alone: list[Turned]) -> bool:
        """Whether a call with a batch gives what calls with each image give."""
        try:
            angles, state = self._of_one_call(probes, len(probes))[1:]
        except Exception:  # whatever a function of single images makes of a batch
            return False
        rows = [slice(k, k + 1) for k in range(len(probes))]
        each = [(angles[row], None if state is None else state[row]) for row in rows]
        return all(map(_equal, each, alone))

    def _recorded(self, x: Tensor) -> tuple[dict[int, Any], Tensor | None, Circuit, Tensor]:
        """Angles, initial states, circuit and readout of one call with x (features,) or (n, ...)"""
        tape = self._tape(x)
        state, labels, gates = _prepared(tape, self.what)
        wires = {label: k for k, label in enumerate(labels)}
        check_size(self.what, len(wires))
        sequence = GateSequence(len(wires))
        for gate in gates:
            _write(sequence, gate, [wires[label] for label in gate.wires], self.what)
        readout = Readout.of(tape.measurements, wires, self.what)
        for wire, axis in readout.axes.items():
            if axis == "X":
                sequence.ry(wire, -math.pi / 2)
            elif axis == "Y":
                sequence.rx(wire, math.pi / 2)
        written = sequence.written(readout.axes)
        if state is not None:
            state = _padded(state, 2**written.circuit.qubits, self.what).to(x)
        return dict(written.angles), state, written.circuit, readout.matrix

    def _tape(self, x: Tensor) -> Any:
        arguments = {self._input: x, **self.weights}
        try:
            tape = qml.workflow.construct_tape(self.qnode, level="user")(**arguments)
            if any(isinstance(gate, MidMeasureMP) for gate in tape.operations):
                refuse(self.what, "measures a wire before its end: engines cannot")
            (decomposed,), _ = qml.transforms.decompose(tape, gate_set=_GATES)
        except UsageError:
            raise
        except Exception as error:  # whatever a stranger's circuit raises
            raise UsageError(
                f"{self.what} cannot be written by gates: {one_line(str(error), 200)}"
            ) from error
        return decomposed


def _equal(one: Turned, other: Turned) -> bool:
    return all(
        a is b or (a is not None and b is not None and torch.allclose(a, b, atol=1e-5))
        for a, b in zip(one, other, strict=True)
    )


def _start(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return 2 * math.pi * torch.rand(value)


def _input_of(qnode: Any, weights: Mapping[str, Tensor], what: str) -> str:
    """The name of the argument that takes the images."""
    parameters = inspect.signature(qnode.func).parameters
    unknown = [name for name in weights if name not in parameters]
    if unknown:
        refuse(what, f"takes no weights {', '.join(unknown)}: it takes {', '.join(parameters)}")
    open_ = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind < p.VAR_POSITIONAL and name not in weights
    ]
    if len(open_) != 1:
        refuse(what, f"takes {', '.join(open_) or 'nothing'}: name its weights, all but the images")
    return open_[0]


def _prepared(tape: Any, what: str) -> tuple[Tensor | None, list[Any], list[Any]]:
    """Initial amplitudes, wires with those of the amplitudes first, and the gates that follow."""
    gates = [gate for gate in tape.operations if gate.name not in _NOTHING]
    labels = sorted(tape.wires, key=lambda label: (isinstance(label, str), label))
    if not gates or gates[0].name not in _STATES:
        return None, labels, gates
    first = gates[0]
    amplitudes = torch.as_tensor(first.parameters[0])
    if amplitudes.is_complex():
        if bool((amplitudes.imag.abs() > 1e-9).any()):
            refuse(what, "starts with complex amplitudes: engines take real ones")
        amplitudes = amplitudes.real
    mine = list(first.wires)
    labels = mine + [label for label in labels if label not in mine]
    return amplitudes.reshape(-1, 2 ** len(mine)), labels, gates[1:]


def _padded(state: Tensor, size: int, what: str) -> Tensor:
    """Amplitudes (n, 2^n) of all wires, those behind the prepared ones in |0⟩."""
    full = state.new_zeros(len(state), state.shape[1], size // state.shape[1])
    full[:, :, 0] = state
    return full.flatten(1)


def _write(sequence: GateSequence, gate: Any, on: list[int], what: str) -> None:
    values = [_angle(value, what) for value in gate.parameters]
    match gate.name:
        case "RX":
            sequence.rx(*on, *values)
        case "RY":
            sequence.ry(*on, *values)
        case "RZ" | "PhaseShift":
            sequence.rz(*on, *values)
        case "Rot":
            sequence.rot(*on, *values)
        case "Hadamard":
            sequence.hadamard(*on)
        case "CNOT":
            sequence.cnot(*on)
        case _:
            refuse(what, f"holds {gate.name}, which is no gate that engines run")


def _angle(value: Any, what: str) -> Any:
    """A tensor as it is, anything else as a number."""
    if isinstance(value, Tensor):
        if value.dim() > 1:
            refuse(what, f"has an angle of shape {tuple(value.shape)}")
        return value
    number = float(value)
    if not math.isfinite(number):
        refuse(what, f"has an angle {number}")
    return number
