"""A Qiskit circuit as a module: its gates as U and CX, its parameters as inputs and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Parameter, ParameterExpression
from qiskit.exceptions import QiskitError
from qiskit.transpiler import generate_preset_pass_manager
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit, z_signs
from qbench.circuits.gates import GateSequence, Written
from qbench.errors import UsageError
from qbench.interfaces import Engine
from qbench.text import one_line
from qbench_circuits import expressions
from qbench_circuits.layer import CircuitLayer, check_size, filled, refuse

_WHAT = "the Qiskit circuit"


class QiskitLayer(CircuitLayer):
    """A `QuantumCircuit` that an engine runs; arguments as in `qbench_circuits.from_qiskit`."""

    def __init__(
        self,
        circuit: QuantumCircuit,
        inputs: Any,
        weights: Sequence[float] | None = None,
        readout: Literal["expectations", "probabilities"] = "expectations",
        engine: Engine | None = None,
    ) -> None:
        if not isinstance(circuit, QuantumCircuit):
            refuse(_WHAT, f"is a {type(circuit).__name__}: give a QuantumCircuit")
        self.inputs = [parameter.name for parameter in _found(circuit, inputs)]
        names = [parameter.name for parameter in circuit.parameters]
        self.weight_names = [name for name in names if name not in set(self.inputs)]
        super().__init__(len(self.inputs), engine)
        self.source = circuit
        written = _written(circuit)
        self.circuit = written.circuit
        self._angles = {index: expression.sympify() for index, expression in written.angles.items()}
        for expression in self._angles.values():
            expressions.check(expression)
        self.weights = nn.Parameter(_start(self.weight_names, weights))
        self.register_buffer("readout", _readout(self.circuit, readout), persistent=False)

    def asked(self, x: Tensor) -> tuple[Circuit, Tensor, Tensor | None]:
        """The circuit and its angles for images x (n, features)."""
        given = dict(zip(self.inputs, x.unbind(1), strict=True))
        given |= zip(self.weight_names, self.weights.unbind(0), strict=True)
        angles = {index: expressions.value(e, given) for index, e in self._angles.items()}
        return self.circuit, filled(self.circuit, angles, x), None


def _found(circuit: QuantumCircuit, inputs: Any) -> list[Parameter]:
    """The circuit's parameters that are inputs."""
    known = {parameter.name: parameter for parameter in circuit.parameters}
    found = []
    for given in [inputs] if isinstance(inputs, (str, Parameter)) else list(inputs):
        name = given if isinstance(given, str) else getattr(given, "name", str(given))
        if name not in known or not (isinstance(given, str) or given == known[name]):
            refuse(
                _WHAT,
                f"has no parameter {name!r} that could be an input; it has "
                f"{', '.join(list(known)[:8]) or 'none'}{', ...' if len(known) > 8 else ''}",
            )
        found.append(known[name])
    if not found:
        refuse(_WHAT, "has no inputs: name the parameters that are an image's features")
    if len(set(found)) < len(found):
        refuse(_WHAT, "has an input that is named twice")
    return found


def _start(names: Sequence[str], weights: Sequence[float] | None) -> Tensor:
    if weights is None:
        return 2 * math.pi * torch.rand(len(names))
    start = torch.as_tensor(weights, dtype=torch.get_default_dtype())
    if start.shape != (len(names),):
        raise UsageError(
            f"{tuple(start.shape)} weights for a circuit of {len(names)}: "
            f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        )
    return start.clone()


def _readout(circuit: Circuit, readout: str) -> Tensor:
    m = len(circuit.measured)
    if readout == "expectations":
        return torch.from_numpy(z_signs(m).copy())
    if readout == "probabilities":
        return torch.eye(2**m, dtype=torch.float64)
    raise UsageError(f"readout is expectations or probabilities, not {readout!r}")


def _written(circuit: QuantumCircuit) -> Written:
    """Its gates, and its measurements, which come last; qubits without either are left out."""
    gates, reads = _split(circuit)
    used = {qubit for gate in gates.data for qubit in gate.qubits} | set(reads.values())
    place = {qubit: k for k, qubit in enumerate(q for q in circuit.qubits if q in used)}
    check_size(_WHAT, len(place))
    sequence = GateSequence(len(place))
    for gate in _translated(gates).data:
        on = [place[circuit.qubits[gates.find_bit(qubit).index]] for qubit in gate.qubits]
        if gate.operation.name == "cx":
            sequence.cnot(*on)
        else:
            theta, phi, lam = map(_angle, gate.operation.params)
            sequence.rot(on[0], lam, theta, phi)
    measured = [place[reads[bit]] for bit in sorted(reads)] if reads else list(place.values())
    return sequence.written(measured)


def _split(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, Any]]:
    """The circuit without its measurements, and the qubit that each classical bit is read from."""
    gates = circuit.copy_empty_like()
    reads: dict[int, Any] = {}
    for gate in circuit.data:
        name = gate.operation.name
        if isinstance(gate.operation, ControlFlowOp) or getattr(gate.operation, "condition", None):
            refuse(_WHAT, f"decides by what it measures ({name}): engines run none of that")
        if name in ("reset", "initialize", "delay", "store"):
            refuse(_WHAT, f"holds {name!r}, and engines run gates only")
        if name == "barrier":
            continue
        if not set(gate.qubits).isdisjoint(reads.values()):
            refuse(_WHAT, f"measures a qubit before its end (then {name!r}): engines cannot")
        if name == "measure":
            bit = circuit.find_bit(gate.clbits[0]).index
            if bit in reads:
                refuse(_WHAT, f"reads two qubits into classical bit {bit}")
            reads[bit] = gate.qubits[0]
        else:
            gates.append(gate)
    return gates, reads


def _translated(gates: QuantumCircuit) -> QuantumCircuit:
    try:
        manager = generate_preset_pass_manager(0, basis_gates=["u", "cx"])
        return manager.run(gates)
    except QiskitError as error:
        reason = one_line(str(error.message), 200)
        raise UsageError(f"{_WHAT} cannot be written by U and CX gates: {reason}") from error


def _angle(parameter: Any) -> Any:
    """A number as float, an expression of parameters as it is."""
    if isinstance(parameter, ParameterExpression) and parameter.parameters:
        return parameter
    number = float(parameter)
    if not math.isfinite(number):
        refuse(_WHAT, f"has an angle {number}")
    return number
