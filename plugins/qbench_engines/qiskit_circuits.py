"""Both circuits in Qiskit: one parametrised circuit for every image and every set of weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector

from qbench.circuits.circuit import Circuit
from qbench_engines.host import Inputs
from qbench_engines.mottonen import gates, ry_angles

ANGLES, AMPLITUDES = "angles", "amplitudes"


@lru_cache(maxsize=16)
def parametrised(circuit: Circuit, amplitudes: bool) -> QuantumCircuit:
    """The circuit with its angles as parameters; wire i is qubit i, nothing is measured.

    `angles[i]` is the i-th of (layers, qubits, 3) in order. With `amplitudes` the circuit starts
    with a Möttönen preparation by `amplitudes[i]`, the angles of `mottonen.ry_angles`. The
    circuit's constants are no parameters, and rotations by nothing are left out.
    """
    n = circuit.qubits
    program = QuantumCircuit(n, name="amplitude" if amplitudes else "rotations")
    if amplitudes:
        turns = ParameterVector(AMPLITUDES, 2**n - 1)
        for turn, (target, control) in zip(turns, gates(n), strict=True):
            program.ry(turn, target)
            if control is not None:
                program.cx(control, target)
    given: list[Any] = list(ParameterVector(ANGLES, 3 * n * circuit.layers))
    for index, constant in circuit.constants:
        given[index] = constant
    angles = iter(given)
    for cnots in circuit.cnots:
        for qubit in range(n):
            phi, theta, omega = next(angles), next(angles), next(angles)
            if any((phi, theta, omega)):
                program.u(theta, omega, phi, qubit)  # RZ(ω) RY(θ) RZ(φ) but for a global phase
        for control, target in cnots:
            program.cx(control, target)
    return program


def measured(circuit: Circuit, amplitudes: bool) -> QuantumCircuit:
    """`parametrised` with the measured wires read out, wire `measured[k]` into classical bit k."""
    program = QuantumCircuit(circuit.qubits, len(circuit.measured))
    program.compose(parametrised(circuit, amplitudes), inplace=True)
    program.measure(circuit.measured, range(len(circuit.measured)))
    return program


@dataclass(frozen=True)
class Bound:
    """A circuit that runs on a batch: what the batch shares is bound, the rest is in `values`.

    Args:
        program: The circuit.
        values: Parameter → one value for each circuit of the batch; empty where all is bound.
    """

    program: QuantumCircuit
    values: dict[Parameter, list[float]]


def bind(program: QuantumCircuit, inputs: Inputs) -> Bound:
    """Bind what every circuit of the batch shares, and lay out the rest.

    Args:
        program: `parametrised`, or a transpilation of it: parameters are known by name and index.
        inputs: The batch.
    """
    sources: dict[str, NDArray[np.float64]] = {ANGLES: inputs.angles}
    if inputs.state is not None:
        sources[AMPLITUDES] = ry_angles(inputs.state)
    shared: dict[Any, float] = {}
    values: dict[Any, list[float]] = {}
    for parameter in program.parameters:  # transpilers drop those that no measurement sees
        rows = sources[parameter.vector.name][:, parameter.index]
        if len(rows) == 1:
            shared[parameter] = float(rows[0])
        else:
            values[parameter] = rows.tolist()
    return Bound(program.assign_parameters(shared) if shared else program, values)
