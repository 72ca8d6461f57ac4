"""A circuit's rotations carried to its end, where a margin is diagonal; in float64.

Each layer's rotations act on the state ψ at the end as exp(−i α_j σ_j), one after the other, for
deviations α_j of their angles and generators σ_j = C ½(a·σ) C† of norm ½, where C is what the
circuit does from before the layer to the end. That takes 4^q numbers a layer.

Vectors are real, with real and imaginary parts in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.circuits.torch_engine import kronecker, rotation_matrices

from .gates import ReUploadGates
from .tangents import axes

_LARGEST = 1 << 22  # complex numbers that the layers' matrices may have


@dataclass(frozen=True)
class Carried:
    """A circuit at one input.

    Args:
        axes: Of the rotations before their gate, (layers, qubits, 3, 3).
        later: C from before each layer to the end, (layers, 2^q, 2^q) complex128.
        state: ψ at the end, (2^(q + 1),).
        moved: σ_j ψ, (layers, 3 · qubits, 2^(q + 1)).
    """

    axes: Tensor
    later: Tensor
    state: Tensor
    moved: Tensor


def can_carry(gates: ReUploadGates) -> bool:
    """Whether a circuit has two qubits at least and is small enough for its layers' matrices."""
    qubits, layers = gates.circuit.qubits, gates.circuit.layers
    return qubits > 1 and layers << (2 * qubits) <= _LARGEST


def carry(gates: ReUploadGates, x: Tensor) -> Carried:
    """The circuit at one input (features,)."""
    circuit, angles = gates.circuit, gates.angles(x[None])[0]
    size, half = 1 << circuit.qubits, circuit.qubits // 2
    matrices = rotation_matrices(angles)
    first, rest = kronecker(matrices[:, :half]), kronecker(matrices[:, half:])
    ahead = torch.eye(size, dtype=matrices.dtype)
    later = ahead.new_empty(circuit.layers, size, size)
    for layer in reversed(range(circuit.layers)):
        # Column i of what comes next is read where the CNOTs put i.
        moved_to = torch.as_tensor(circuit.permutations[layer])
        columns = torch.empty_like(ahead)
        columns[:, moved_to] = ahead
        split = columns.view(size, first.shape[-1], rest.shape[-1])
        ahead = torch.einsum("rab,ac,bd->rcd", split, first[layer], rest[layer]).reshape(size, size)
        later[layer] = ahead
    start = torch.view_as_real(ahead[:, 0]).flatten()
    turns = axes(angles)
    return Carried(turns, later, start, turned(turns, later, start))


def turned(turns: Tensor, later: Tensor, vector: Tensor) -> Tensor:
    """σ_j v of a vector at the end (2^(q + 1),), (layers, 3 · qubits, 2^(q + 1)).

    Args:
        turns, later: The axes and C of `Carried`.
        vector: v.
    """
    qubits, size = turns.shape[1], later.shape[1]
    before = later.mH @ torch.view_as_complex(vector.view(-1, 2))
    index, paulis = torch.arange(size), []
    for qubit in range(qubits):
        bit = 1 << (qubits - 1 - qubit)
        sign = 1.0 - 2.0 * ((index & bit) > 0).double()
        flipped = before[:, index ^ bit]
        paulis.append(torch.stack([flipped, -1j * sign * flipped, sign * before], 1))
    acted = (turns / 2).to(before.dtype) @ torch.stack(paulis, 1)
    return torch.view_as_real(acted.flatten(1, 2) @ later.mT).flatten(2)
