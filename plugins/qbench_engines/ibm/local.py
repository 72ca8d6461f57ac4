"""Fake devices: a simulator with the noise of the qubits that are used.

A fake backend models all of its qubits anew for every job, which takes ten seconds on the larger
ones and changes nothing: qubits that no gate touches stay in |0> and are not read.
"""

from __future__ import annotations

from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors

from qbench_engines.backends import fake_backend


def fake_device(name: str, qubits: list[int]) -> AerSimulator:
    """A simulator of circuits on a fake backend, with the noise of some of its qubits: gates,
    relaxation, and readout.

    Args:
        name: With or without `fake_`.
        qubits: Those in use.

    Raises:
        UnknownNameError: There is none of that name.
    """
    full = fake_backend(name).target
    target = _only(full, frozenset(qubits))
    noise = NoiseModel(basis_gates=list(target.operation_names))
    for gate, where, error in basic_device_gate_errors(target=target):
        noise.add_quantum_error(error, gate, where, warnings=False)
    for where, error in basic_device_readout_errors(target=target):
        noise.add_readout_error(error, where)
    simulator = AerSimulator(noise_model=noise)
    simulator.set_max_qubits(full.num_qubits)  # idle ones cost nothing
    return simulator


def _only(target: Target, qubits: frozenset[int]) -> Target:
    small = Target(
        num_qubits=target.num_qubits, dt=target.dt, qubit_properties=target.qubit_properties
    )
    for name in target.operation_names:
        kept = {
            where: found
            for where, found in (target[name] or {}).items()
            if where is not None and qubits >= set(where)
        }
        if kept:
            small.add_instruction(target.operation_from_name(name), kept, name=name)
    return small
