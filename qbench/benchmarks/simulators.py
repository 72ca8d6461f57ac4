"""Other state-vector simulators with gradients: qulacs and pyqtorch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbench.benchmarks.problem import Contender, Prepared, Problem, Result
from qbench.circuits.torch_engine import expectations


def _qulacs(problem: Problem) -> Prepared:
    qulacs: Any = import_module("qulacs")
    circuit = problem.circuit
    n, wires = circuit.qubits, range(circuit.qubits)
    program, state = qulacs.ParametricQuantumCircuit(n), qulacs.QuantumState(n)
    for reach in circuit.ranges:
        for wire in wires:
            program.add_parametric_RZ_gate(wire, 0.0)
            program.add_parametric_RY_gate(wire, 0.0)
            program.add_parametric_RZ_gate(wire, 0.0)
        for wire in wires:
            program.add_CNOT_gate(wire, (wire + reach) % n)
    single = [_observable(qulacs, n, {wire: 1.0}) for wire in circuit.measured]
    # qulacs turns the other way: its RZ(a) is exp(+i a Z / 2).
    rows = [(-angles).flatten().tolist() for angles in problem.angles]
    weights = problem.cotangent.tolist()

    def values(row: list[float]) -> list[float]:
        for place, angle in enumerate(row):
            program.set_parameter(place, angle)
        state.set_zero_state()
        program.update_quantum_state(state)
        return [observable.get_expectation_value(state) for observable in single]

    def gradient() -> Result:
        found, by_angle = [], []
        for row, weight in zip(rows, weights, strict=True):
            found.append(values(row))
            target = _observable(qulacs, n, dict(zip(circuit.measured, weight, strict=True)))
            by_angle.append(program.backprop(target))
        return np.array(found), -np.array(by_angle).reshape(problem.angles.shape)

    return Prepared(lambda: [values(row) for row in rows], gradient)


def _observable(qulacs: Any, qubits: int, weights: dict[int, float]) -> Any:
    observable = qulacs.Observable(qubits)
    for wire, weight in weights.items():
        observable.add_operator(weight, f"Z {wire}")
    return observable


def _pyqtorch(problem: Problem) -> Prepared:
    pyq: Any = import_module("pyqtorch")
    circuit = problem.circuit
    n, wires, batch = circuit.qubits, range(circuit.qubits), len(problem.angles)
    gates: list[Any] = []
    for layer, reach in enumerate(circuit.ranges):
        for wire in wires:
            turns = enumerate((pyq.RZ, pyq.RY, pyq.RZ))
            gates += [turn(wire, f"a{layer}_{wire}_{k}") for k, turn in turns]
        gates += [pyq.CNOT(wire, (wire + reach) % n) for wire in wires]
    program = pyq.QuantumCircuit(n, gates).to(torch.complex64)
    outcomes = torch.as_tensor(circuit.outcomes)
    names = [
        (f"a{layer}_{wire}_{k}", layer, wire, k)
        for layer in range(circuit.layers)
        for wire in wires
        for k in range(3)
    ]

    def run(angles: Tensor) -> Tensor:
        start = pyq.zero_state(n, batch_size=batch, dtype=torch.complex64)
        named = {name: angles[:, layer, wire, k] for name, layer, wire, k in names}
        final = program.run(state=start, values=named)
        density = torch.view_as_real(final.reshape(2**n, batch)).square().sum(-1).T
        empty = density.new_zeros(batch, 2 ** len(circuit.measured))
        return expectations(empty.index_add(1, outcomes, density))

    @torch.no_grad()
    def forward() -> Tensor:
        return run(problem.angles)

    def gradient() -> Result:
        angles = problem.angles.detach().requires_grad_()
        values = run(angles)
        (by_angle,) = torch.autograd.grad(values, angles, problem.cotangent)
        return values.detach(), by_angle

    return Prepared(forward, gradient)


SIMULATORS = (
    Contender(
        "qulacs",
        "qulacs (C++), complex128, `backprop` of a weighted observable, one sample after another; "
        "setting the angles is counted",
        _qulacs,
        ("qulacs",),
        loops=True,
        torch=False,
    ),
    Contender(
        "pyqtorch",
        "pyqtorch, complex64, the batch at once, autograd",
        _pyqtorch,
        ("pyqtorch",),
    ),
)
