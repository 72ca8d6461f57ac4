"""The `aer:DEVICE` engines: what an IBM device's gate and readout errors leave of the scores.

Exact probabilities of the noisy circuit: its density matrix is evolved on the qubits it uses, with
Aer's model of the device (depolarising and thermal relaxation errors of every gate), and the
readout errors of the measured qubits are applied to the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.transpiler import InstructionProperties, QubitProperties, Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import UsageError
from qbench_engines import host
from qbench_engines.aer import REASON, run
from qbench_engines.backends import fake_backend, short_name
from qbench_engines.compiling import check_size, compiled
from qbench_engines.progress import shown
from qbench_engines.qiskit_circuits import bind

JOB = 20  # circuits a job: seven times faster than one, and a progress bar still moves
KNOWN = 4096  # distributions kept of each circuit, with a few kilobytes of angles


class NoisyAerEngine:
    """The transpiled circuit under the noise of a fake backend; exact but for the noise model.

    Args:
        device: Short name of a fake backend, e.g. `marrakesh`.
        scale: Factor on every error rate (see `scaled`): 0 for none, 1 for the device's own.

    Raises:
        UnknownNameError: There is none of that name.
        UsageError: The factor is negative or not finite.
    """

    exact = False
    differentiable = False

    def __init__(self, device: str, scale: float = 1.0) -> None:
        self.device, self.scale = short_name(device), scale
        self.name = f"aer:{self.device}"
        if not 0 <= scale < math.inf:
            raise UsageError(f"engine {self.name!r}: noise times {scale:g}; give a factor from 0")
        self._backend = fake_backend(self.device)

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires; arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for.
            UsageError: Arguments do not fit the circuit, or it has more qubits than the device.
        """
        host.refuse_gradients(self.name, REASON, angles, state)
        check_size(self.name, self._backend, circuit.qubits)
        inputs = host.read(self.name, circuit, angles, state)
        noisy = noisy_circuit(circuit, state is not None, self.device, self.scale)
        return host.write(noisy.probabilities(inputs), angles)


@dataclass(frozen=True)
class NoisyCircuit:
    """A transpiled circuit on as many qubits as it uses, and their noise.

    Args:
        device: Short name of the fake backend.
        program: The circuit without its measurements, on qubits 0..k-1.
        qubits: The device's qubits that these stand for.
        measured: The qubits read out, in the order of the circuit's measured wires.
        readout: Row-stochastic (2^m, 2^m): probability of reading column given the row's outcome.
        simulator: Aer with the noise of the gates.
        metadata: Of `compiling.compiled`.
        known: Distributions read of inputs seen before, by content: shots are drawn of the same
            image many times.
    """

    device: str
    program: QuantumCircuit
    qubits: tuple[int, ...]
    measured: tuple[int, ...]
    readout: NDArray[np.float64]
    simulator: AerSimulator
    metadata: dict[str, Any] = field(default_factory=dict)
    known: dict[host.Content, NDArray[np.float64]] = field(default_factory=dict)

    def probabilities(self, inputs: host.Inputs) -> NDArray[np.float64]:
        """Distributions read (batch, 2^m); what is not known yet is computed, `JOB` at a time."""
        asked = [inputs.row(index).content for index in range(inputs.batch)]
        new = [content for content in dict.fromkeys(asked) if content not in self.known]
        jobs = [new[first : first + JOB] for first in range(0, len(new), JOB)]
        for job in shown(jobs, f"aer:{self.device}", JOB):
            self.known.update(zip(job, self._computed(host.Inputs.of(job)), strict=True))
        found = [self.known[content] for content in asked]
        for content in list(self.known)[:-KNOWN]:
            del self.known[content]
        return np.stack(found) if found else np.empty((0, 2 ** len(self.measured)))

    def _computed(self, inputs: host.Inputs) -> NDArray[np.float64]:
        """Distributions read (batch, 2^m), in one job; a row does not depend on the others."""
        bound = bind(self.program, inputs)
        gates = run(self.simulator, bound, self.measured, inputs.batch)
        return np.asarray(np.einsum("bi,ij->bj", gates, self.readout))


@cache
def noisy_circuit(
    circuit: Circuit, amplitudes: bool, device: str, scale: float = 1.0
) -> NoisyCircuit:
    """A circuit with the noise of a fake backend times `scale`, made once a process."""
    backend = fake_backend(device)
    full = compiled(circuit, amplitudes, backend)
    used = {full.find_bit(qubit).index for gate in full.data for qubit in gate.qubits}
    qubits = tuple(sorted(used))
    program, reads = QuantumCircuit(len(qubits)), {}
    for gate in full.data:
        places = [qubits.index(full.find_bit(qubit).index) for qubit in gate.qubits]
        if gate.operation.name == "measure":
            reads[full.find_bit(gate.clbits[0]).index] = places[0]
        elif gate.operation.name != "barrier":
            program.append(gate.operation, places)
    target = scaled(restricted(backend.target, qubits), scale)
    measured = tuple(reads[bit] for bit in range(len(reads)))
    return NoisyCircuit(
        device=device,
        program=program,
        qubits=qubits,
        measured=measured,
        readout=_readout(target, measured),
        simulator=AerSimulator(method="density_matrix", noise_model=_gate_noise(target)),
        metadata=full.metadata,
    )


def restricted(target: Target, qubits: tuple[int, ...]) -> Target:
    """A device's target on some of its qubits, renumbered in the order given.

    Aer takes seconds to model 156 qubits, and a fraction of one for the eight that matter.
    """
    place = {qubit: index for index, qubit in enumerate(qubits)}
    properties = target.qubit_properties
    small = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        qubit_properties=properties and [properties[qubit] for qubit in qubits],
    )
    for name in target.operation_names:
        kept = {
            tuple(place[qubit] for qubit in where): found
            for where, found in (target[name] or {}).items()
            if where is not None and place.keys() >= set(where)
        }
        if kept:
            small.add_instruction(target.operation_from_name(name), kept, name=name)
    return small


def scaled(target: Target, scale: float) -> Target:
    """A target with every error rate times `scale` (at least 0), on the same qubits.

    The errors of gates are multiplied, T1 and T2 divided. Aer takes from a gate's error what
    relaxation explains and makes depolarising noise of the rest, at most all of it. Errors of
    readout are multiplied up to 1/2, where an outcome says nothing.
    """
    if scale == 1:
        return target
    noisier = Target(
        num_qubits=target.num_qubits,
        dt=target.dt,
        qubit_properties=[
            QubitProperties(_longer(found.t1, scale), _longer(found.t2, scale), found.frequency)
            for found in target.qubit_properties or ()
        ]
        or None,
    )
    for name in target.operation_names:
        most = 0.5 if name == "measure" else 1.0
        rates = {
            qubits: found and InstructionProperties(found.duration, _rate(found.error, scale, most))
            for qubits, found in target[name].items()
        }
        noisier.add_instruction(target.operation_from_name(name), rates, name=name)
    return noisier


def _longer(time: float | None, scale: float) -> float | None:
    return time if time is None else time / scale if scale else math.inf


def _rate(error: float | None, scale: float, most: float) -> float | None:
    return error if error is None else min(scale * error, max(most, error))


def _gate_noise(target: Target) -> NoiseModel:
    noise = NoiseModel(basis_gates=list(target.operation_names))
    for name, qubits, error in basic_device_gate_errors(target=target):
        noise.add_quantum_error(error, name, qubits, warnings=False)
    return noise


def _readout(target: Target, measured: tuple[int, ...]) -> NDArray[np.float64]:
    """Readout errors of independent qubits as one matrix, the first qubit as the highest bit."""
    errors = dict(_single(target))
    matrix: NDArray[Any] = np.ones((1, 1))
    for qubit in measured:
        matrix = np.kron(matrix, errors.get(qubit, np.eye(2)))
    return matrix


def _single(target: Target) -> Iterator[tuple[int, NDArray[np.float64]]]:
    for (qubit,), error in basic_device_readout_errors(target=target):
        yield qubit, np.asarray(error.probabilities, np.float64)
