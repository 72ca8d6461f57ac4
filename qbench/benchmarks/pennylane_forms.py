"""PennyLane as its users write it: `StronglyEntanglingLayers` in a QNode with the torch interface.

Imported by name at run time: PennyLane is optional, and takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from qbench.benchmarks.problem import Contender, Prepared, Problem, Result
from qbench.circuits.circuit import Circuit


def _qnode(circuit: Circuit, device: str, method: str, **options: Any) -> Callable[..., Any]:
    qml: Any = import_module("pennylane")

    def layers(weights: Tensor) -> list[Any]:
        qml.StronglyEntanglingLayers(weights, wires=range(circuit.qubits), ranges=circuit.ranges)
        return [qml.expval(qml.Z(wire)) for wire in circuit.measured]

    machine = qml.device(device, wires=circuit.qubits, **options)
    node: Callable[..., Any] = qml.QNode(layers, machine, interface="torch", diff_method=method)
    return node


def _looped(node: Callable[..., Any], angles: Tensor) -> Tensor:
    return torch.stack([torch.stack(tuple(node(one))) for one in angles])


def _batched(node: Callable[..., Any], angles: Tensor) -> Tensor:
    return torch.stack(tuple(node(angles)), -1)


def _prepare(
    problem: Problem,
    run: Callable[[Callable[..., Any], Tensor], Tensor],
    device: str,
    method: str,
    single: bool = False,
) -> Prepared:
    options = {"c_dtype": import_module("numpy").complex64} if single else {}
    node = _qnode(problem.circuit, device, method, **options)

    @torch.no_grad()
    def forward() -> Tensor:
        return run(node, problem.angles)

    def gradient() -> Result:
        angles = problem.angles.detach().requires_grad_()
        values = run(node, angles)
        (by_angle,) = torch.autograd.grad(values, angles, problem.cotangent.to(values.dtype))
        return values.detach(), by_angle

    return Prepared(forward, gradient)


PENNYLANE = (
    Contender(
        "default.qubit, broadcast",
        "PennyLane default.qubit, backprop through torch, one QNode call with the whole batch of "
        "angles (parameter broadcasting)",
        partial(_prepare, run=_batched, device="default.qubit", method="backprop"),
        ("pennylane",),
    ),
    Contender(
        "default.qubit, loop",
        "PennyLane default.qubit, backprop through torch, one QNode call a sample",
        partial(_prepare, run=_looped, device="default.qubit", method="backprop"),
        ("pennylane",),
        loops=True,
    ),
    Contender(
        "lightning.qubit",
        "PennyLane lightning.qubit (C++), complex64, adjoint, one QNode call with the batch, "
        "which PennyLane runs one by one",
        partial(_prepare, run=_batched, device="lightning.qubit", method="adjoint", single=True),
        ("pennylane", "pennylane_lightning"),
        loops=True,
    ),
)
