"""The circuits of a model as programs in OpenQASM 3."""

from __future__ import annotations

import torch
from qiskit import QuantumCircuit, qasm3
from torch import Tensor, nn

from qbench.engines.modules import engine_of, on_engine
from qbench.engines.recording import Recorder
from qbench.errors import UsageError
from qbench_circuits.qiskit_layer import QiskitLayer
from qbench_engines import host
from qbench_engines.qiskit_circuits import bind, measured


def programs(model: nn.Module, x: Tensor | None) -> list[str]:
    """As `qbench_circuits.to_openqasm` says."""
    if x is None:
        if not isinstance(model, QiskitLayer):
            raise UsageError(
                f"the parameters of {type(model).__name__} are not those of a circuit in Qiskit or "
                "OpenQASM: give images"
            )
        return [qasm3.dumps(model.source)]
    return [qasm3.dumps(circuit) for circuit in _bound(model, x)]


def _bound(model: nn.Module, x: Tensor) -> list[QuantumCircuit]:
    """Measured circuits without parameters, in the order in which the model runs them."""
    if engine_of(model) is None:
        raise UsageError(f"{type(model).__name__} runs no circuits on an engine of qbench")
    recorder = Recorder()
    with on_engine(model, recorder), torch.no_grad():
        model(x)
    found = []
    for batch in recorder.batches:
        inputs = host.read("openqasm", batch.circuit, batch.angles, batch.state)
        program = measured(batch.circuit, batch.state is not None)
        found += [bind(program, inputs.row(k)).program for k in range(inputs.batch)]
    return found
