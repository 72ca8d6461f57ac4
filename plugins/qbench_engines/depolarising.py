"""Depolarising noise: of the whole circuit at once, and after every gate.

The channel forgets the state with some probability and leaves the maximally mixed one, 1/2^n.
"""

from __future__ import annotations

from functools import lru_cache

from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import UsageError
from qbench.interfaces import Engine
from qbench_engines import host
from qbench_engines.aer import REASON, run
from qbench_engines.qiskit_circuits import bind, parametrised


class DepolarisedEngine:
    """An engine whose circuits end in global depolarising noise: p → s p + (1 − s) / 2^m.

    All scores ⟨Z_k⟩ are multiplied by s, so predictions from exact probabilities do not change.

    Args:
        engine: Runs the circuits.
        signal: s, the share of the signal that is left.

    Raises:
        UsageError: s is not in [0, 1].
    """

    exact = False

    def __init__(self, engine: Engine, signal: float) -> None:
        _check(engine.name, signal)
        self.engine, self.signal = engine, signal
        self.name, self.differentiable = engine.name, engine.differentiable

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires; arguments as in `qbench.interfaces.Engine`."""
        found = self.engine.probabilities(circuit, angles, state)
        return self.signal * found + (1 - self.signal) / found.shape[1]


class LocallyDepolarisedEngine:
    """Depolarising noise after every gate on the gate's qubits, by density matrix on Aer.

    The circuit is the native one: rotations of one qubit and CNOTs, not transpiled.

    Args:
        probability: p of each gate; the channel is ρ → (1 − p) ρ + p · 1/2^k on its k qubits.

    Raises:
        UsageError: p is not in [0, 1].
    """

    name = "aer"
    exact = False
    differentiable = False

    def __init__(self, probability: float) -> None:
        _check(self.name, probability)
        self.probability = probability

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires; arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for.
            UsageError: Arguments do not fit the circuit.
        """
        host.refuse_gradients(self.name, REASON, angles, state)
        inputs = host.read(self.name, circuit, angles, state)
        bound = bind(parametrised(circuit, state is not None), inputs)
        simulator = _simulator(self.probability)
        return host.write(run(simulator, bound, circuit.measured, inputs.batch), angles)


@lru_cache(maxsize=16)
def _simulator(probability: float) -> AerSimulator:
    noise = NoiseModel()
    if probability:
        noise.add_all_qubit_quantum_error(depolarizing_error(probability, 1), ["u", "ry"])
        noise.add_all_qubit_quantum_error(depolarizing_error(probability, 2), ["cx"])
    return AerSimulator(method="density_matrix", noise_model=noise)


def _check(engine: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise UsageError(f"engine {engine!r}: depolarising by {probability:g}; give 0 to 1")
