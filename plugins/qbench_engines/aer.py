"""The `aer` engine: Qiskit Aer's state-vector simulator, exact."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import VerificationError
from qbench_engines import host
from qbench_engines.qiskit_circuits import Bound, bind, parametrised

CHUNK = 200  # circuits a job, which bounds memory
REASON = "Aer only evaluates circuits"


class AerEngine:
    """Exact probabilities of natively built Qiskit circuits, one parametrised circuit a model."""

    name = "aer"
    exact = True
    differentiable = False

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
        found = run(_simulator(), bound, circuit.measured, inputs.batch)
        return host.write(found, angles)


def run(
    simulator: AerSimulator, bound: Bound, measured: tuple[int, ...], batch: int
) -> NDArray[np.float64]:
    """Exact probabilities (batch, 2^m) of the outcomes on qubits `measured`, first one highest.

    Args:
        simulator: Of states or of density matrices; noise of its gates is included, readout
            errors are not.
        bound: Circuits without measurements.
        measured: The qubits.
        batch: Number of circuits.

    Raises:
        VerificationError: Aer fails.
    """
    outcomes = 2 ** len(measured)
    if not batch:
        return np.empty((0, outcomes))
    program: QuantumCircuit = bound.program.copy()
    program.save_probabilities(list(reversed(measured)))  # Qiskit's first qubit is the lowest bit
    if not bound.values:  # the same circuit, whatever the batch
        return np.repeat(_job(simulator, program, {}, 1), batch, axis=0)
    return np.concatenate(
        [
            _job(
                simulator,
                program,
                {key: rows[first : first + CHUNK] for key, rows in bound.values.items()},
                min(CHUNK, batch - first),
            )
            for first in range(0, batch, CHUNK)
        ]
    )


def _job(
    simulator: AerSimulator, program: QuantumCircuit, values: dict[Any, list[float]], batch: int
) -> NDArray[np.float64]:
    binds = [values] if values else None
    result = simulator.run([program], parameter_binds=binds, shots=1).result()
    if not result.success:
        raise VerificationError(f"Aer: {result.status}")
    return np.stack([np.asarray(result.data(i)["probabilities"]) for i in range(batch)])


@cache
def _simulator() -> AerSimulator:
    return AerSimulator(method="statevector")
