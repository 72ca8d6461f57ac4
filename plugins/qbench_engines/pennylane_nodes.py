"""The QNodes that give an engine its probabilities, and their gradient on adjoint devices."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pennylane as qml
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qbench.circuits.circuit import Circuit
from qbench_engines.pennylane_circuits import difference_method, entangle, qnode


class Nodes:
    """The QNodes of a circuit on a device; each takes angles and a state or None."""

    def __init__(self, device: Any, circuit: Circuit) -> None:
        wires = range(circuit.qubits)

        def prepare(angles: Tensor, state: Tensor | None) -> None:
            if state is not None:
                qml.AmplitudeEmbedding(state, wires=wires)
            entangle(circuit, angles)

        def probabilities(angles: Tensor, state: Tensor | None) -> Any:
            prepare(angles, state)
            return qml.probs(wires=circuit.measured)

        def correlations(angles: Tensor, state: Tensor | None) -> Any:
            prepare(angles, state)
            return [qml.expval(_product(wires)) for wires in _subsets(circuit.measured)]

        def forth(angles: Tensor, state: Tensor) -> Any:
            prepare(angles, state)
            return qml.state()

        def back(angles: Tensor, state: Tensor) -> Any:
            qml.StatePrep(state, wires=wires)
            qml.adjoint(entangle)(circuit, angles)
            return qml.state()

        adjoint = difference_method(device) == "adjoint"  # which knows only expectation values
        plain = partial(qml.QNode, device=device, interface="torch", diff_method=None)
        self.probabilities = plain(probabilities) if adjoint else qnode(device, probabilities)
        self.correlations = qnode(device, correlations)
        self.forth, self.back = plain(forth), plain(back)


class StateGradient(torch.autograd.Function):
    """Zeros (batch, 2^m) with the gradient of the probabilities by real initial states.

    p_o = ψᵀ U† P_o U ψ, so a cotangent g gives 2 Re U† (Σ_o g_o P_o) U ψ: once through the
    circuit and once back.
    """

    @staticmethod
    def forward(ctx: Any, nodes: Nodes, circuit: Circuit, angles: Tensor, state: Tensor) -> Tensor:
        ctx.nodes, ctx.circuit = nodes, circuit
        ctx.save_for_backward(angles, state)
        return state.new_zeros(len(state), 2 ** len(circuit.measured))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        angles, state = ctx.saved_tensors
        final = ctx.nodes.forth(angles, state)
        weighed = cotangent[:, torch.as_tensor(ctx.circuit.outcomes)] * final
        norms = torch.linalg.vector_norm(weighed, dim=1, keepdim=True)
        unit = torch.where(norms > 0, weighed / norms, final)  # a zero cotangent: any state will do
        return None, None, None, 2 * norms * ctx.nodes.back(angles, unit).real


def _subsets(wires: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [some for size in range(1, len(wires) + 1) for some in combinations(wires, size)]


def _product(wires: tuple[int, ...]) -> Any:
    return qml.prod(*map(qml.Z, wires)) if len(wires) > 1 else qml.Z(wires[0])


def from_correlations(values: Tensor) -> Tensor:
    """Probabilities (..., 2^m) from ⟨Π Z⟩ over every non-empty set of the m measured wires."""
    m = (values.shape[-1] + 1).bit_length() - 1
    bits = np.arange(2**m)[:, None] >> np.arange(m - 1, -1, -1) & 1
    parity = np.stack([bits[:, some].sum(1) % 2 for some in _subsets(tuple(range(m)))])
    signs = torch.as_tensor(1 - 2.0 * parity).to(values)
    found: Tensor = (1 + values @ signs) / 2**m
    return found
