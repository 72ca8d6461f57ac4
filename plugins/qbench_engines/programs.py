"""Circuits for a device as bytes (QPY), and the values of their parameters."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector
from qiskit.exceptions import QiskitError

from qbench.circuits.circuit import Circuit
from qbench.errors import StoreError
from qbench.text import one_line
from qbench_engines import host
from qbench_engines.compiling import (
    compiled,
    estimated_success,
    from_qpy,
    in_native_gates,
    versions,
)
from qbench_engines.mottonen import ry_angles
from qbench_engines.qiskit_circuits import AMPLITUDES, ANGLES
from qbench_hardware.interface import Counts, Program

REGISTER = "c"
PREPARED = "prepared"
_PACKAGES = ("qiskit", "qiskit-ibm-runtime", "qiskit-aer", "iqm-client")


def compile_for(circuit: Circuit, amplitudes: bool, backend: Any) -> Program:
    """The measured circuit on the device's best qubits, of several layouts the one with the
    highest estimated success."""
    return described(compiled(circuit, amplitudes, backend), backend)


def readout_for(program: Program, backend: Any) -> tuple[Program, NDArray[np.float64]]:
    """Circuits that prepare each outcome on the qubits that a program measures, and their values.

    One circuit prepares all outcomes: RX(t) flips a qubit at t = π and leaves it at t = 0.
    """
    source = loaded(program)
    reads = {
        source.find_bit(gate.clbits[0]).index: source.find_bit(gate.qubits[0]).index
        for gate in source.data
        if gate.operation.name == "measure"
    }
    turns = ParameterVector(PREPARED, len(reads))
    prepared = QuantumCircuit(source.num_qubits, len(reads))
    for bit, qubit in sorted(reads.items()):
        prepared.rx(turns[bit], qubit)
    prepared.barrier(*reads.values())
    for bit, qubit in sorted(reads.items()):
        prepared.measure(qubit, bit)
    m = len(reads)
    bits = (np.arange(2**m)[:, None] >> np.arange(m - 1, -1, -1)) & 1
    return described(in_native_gates(prepared, backend), backend), np.where(bits == 1, np.pi, 0.0)


def described(isa: QuantumCircuit, backend: Any) -> Program:
    """A device's circuit as a program."""
    isa.global_phase = 0  # never seen
    buffer = io.BytesIO()
    qpy.dump(isa, buffer)
    properties = getattr(backend, "properties", lambda: None)()
    reads = [gate for gate in isa.data if gate.operation.name == "measure"]
    order = sorted(reads, key=lambda gate: isa.find_bit(gate.clbits[0]).index)
    used = {isa.find_bit(qubit).index for gate in isa.data for qubit in gate.qubits}
    about = {
        "device": backend.name,
        "calibrated": properties.last_update_date.isoformat() if properties else None,
        "qubits": sorted(used),
        "measured": [isa.find_bit(gate.qubits[0]).index for gate in order],
        "parameters": isa.num_parameters,
        "two_qubit_gates": isa.num_nonlocal_gates(),
        "depth": isa.depth(lambda gate: gate.operation.name not in ("rz", "barrier")),
        "duration_s": _duration(isa, backend.target),
        "estimated_success": estimated_success(isa, backend.target),
        "versions": versions(_PACKAGES),
    }
    return Program(buffer.getvalue(), 2 ** len(reads), about)


def _duration(isa: QuantumCircuit, target: Any) -> float | None:
    try:
        return float(isa.estimate_duration(target, unit="s"))
    except QiskitError:  # the device does not say how long its gates take
        return None


def loaded(program: Program) -> QuantumCircuit:
    """The circuit of a program.

    Raises:
        StoreError: Its bytes are damaged, or of a later version of Qiskit.
    """
    try:
        return from_qpy(program.content)
    except Exception as error:  # whatever damaged bytes provoke
        why = one_line(f"{type(error).__name__}: {error}")
        raise StoreError(
            f"the compiled circuit cannot be read ({why}): "
            "restore circuit.json and readout.json of the run, and use the Qiskit it began with"
        ) from error


def values_of(program: Program, inputs: host.Inputs) -> NDArray[np.float64]:
    """Parameter values (batch, parameters) in the order of the circuit's parameters."""
    sources = {ANGLES: inputs.angles}
    if inputs.state is not None:
        sources[AMPLITUDES] = ry_angles(inputs.state)
    parameters = loaded(program).parameters
    columns = [
        np.broadcast_to(sources[p.vector.name][:, p.index], inputs.batch) for p in parameters
    ]
    return np.stack(columns, 1) if columns else np.empty((inputs.batch, 0))


def counts_of(found: Sequence[Mapping[int, int]], outcomes: int) -> Counts:
    """Counts (circuits, 2^m) from one mapping of outcomes to counts for each circuit.

    Classical bit k is measured wire k, which is to be the k-th highest bit, while Qiskit's bit 0 is
    the lowest.
    """
    m = outcomes.bit_length() - 1
    order = [int(format(i, f"0{m}b")[::-1], 2) for i in range(outcomes)]
    counts = np.zeros((len(found), outcomes), np.int64)
    for circuit, seen in enumerate(found):
        for outcome, count in seen.items():
            counts[circuit, order[outcome]] = count
    return counts
