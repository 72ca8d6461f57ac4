"""A re-uploading circuit's states and what its rotations move them by, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import kronecker, rotation_matrices

from .gates import ReUploadGates


@dataclass(frozen=True)
class Layers:
    """A circuit at n inputs: the state after every layer, and each layer as matrices.

    Args:
        circuit: The circuit.
        angles: (n, layers, qubits, 3).
        left, right: Products of the rotations of the first and of the other half of the qubits:
            (n, layers, rows, rows) and (n, layers, columns, columns).
        states: (n, layers + 1, rows · columns), beginning with |0...0⟩.
    """

    circuit: Circuit
    angles: Tensor
    left: Tensor
    right: Tensor
    states: Tensor

    def __getitem__(self, images: Tensor) -> Layers:
        parts = self.angles, self.left, self.right, self.states
        return Layers(self.circuit, *(part[images] for part in parts))

    def axes(self) -> Tensor:
        """Axes about which rotations turn the state before their gate, (n, layers, qubits, 3, 3).

        ∂Rot/∂α = −(i/2) Rot (a·σ) for the axis a: that of the rotation, carried back through the
        rotations before it. Rows are the rotations φ, θ, ω; columns are x, y, z.
        """
        phi, theta, _ = self.angles.unbind(-1)
        zero = torch.zeros_like(phi)
        rows = (
            (zero, zero, zero + 1),
            (phi.sin(), phi.cos(), zero),
            (-theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()),
        )
        return torch.stack([torch.stack(row, -1) for row in rows], -2)


def run_layers(gates: ReUploadGates, x: Tensor) -> Layers:
    """The circuit at inputs x (n, features)."""
    circuit, angles = gates.circuit, gates.angles(x)
    half = (circuit.qubits + 1) // 2
    rotations = rotation_matrices(angles)
    left, right = kronecker(rotations[..., :half, :, :]), kronecker(rotations[..., half:, :, :])
    state = torch.zeros(len(x), 2**circuit.qubits, dtype=left.dtype)
    state[:, 0] = 1
    states = [state]
    order = torch.as_tensor(circuit.permutations)
    for layer in range(circuit.layers):
        block = state.view(len(x), left.shape[-1], right.shape[-1])
        state = (left[:, layer] @ block @ right[:, layer].mT).flatten(1)[:, order[layer]]
        states.append(state)
    return Layers(circuit, angles, left, right, torch.stack(states, 1))


def backwards(layers: Layers, vectors: Tensor) -> Tensor:
    """Vectors (n, 2^qubits) at the end, undone to before every layer: (n, layers, 2^qubits)."""
    order = torch.as_tensor(layers.circuit.permutations).argsort(1)
    rows, columns = layers.left.shape[-1], layers.right.shape[-1]
    found = []
    for layer in reversed(range(layers.circuit.layers)):
        block = vectors[:, order[layer]].view(-1, rows, columns)
        vectors = (layers.left[:, layer].mH @ block @ layers.right[:, layer].conj()).flatten(1)
        found.append(vectors)
    return torch.stack(found[::-1], 1)


def paulis(circuit: Circuit, vectors: Tensor) -> Tensor:
    """X, Y and Z on each qubit of vectors (..., 2^qubits), as (..., 3 · qubits, 2^qubits)."""
    index = torch.arange(2**circuit.qubits)
    bit = 2 ** torch.arange(circuit.qubits - 1, -1, -1)[:, None]
    sign = torch.where((index & bit) > 0, -1.0, 1.0).double()
    flipped = vectors[..., index ^ bit]
    rotated = torch.complex(sign * flipped.imag, -sign * flipped.real)
    signed = sign * vectors[..., None, :]
    return torch.stack([flipped, rotated, signed], -2).flatten(-3, -2)


def speeds(gates: ReUploadGates, layers: Layers, operators: Tensor) -> Tensor:
    """Inner products of what a layer's rotations move a vector by, per unit of their features.

    Args:
        gates: The gates.
        layers: The circuit.
        operators: `paulis` of a vector before each layer, (n, layers, 3 · qubits, 2^qubits).

    Returns:
        Real parts, (n, layers, 3 · qubits, 3 · qubits).
    """
    parts = torch.view_as_real(operators).flatten(-2)
    n, count, size, _ = parts.shape
    products = (parts @ parts.mT).view(n, count, size // 3, 3, size // 3, 3)
    axes = layers.axes() * (gates.w / 2)[..., None]
    return torch.einsum("nlqga,nlqarb,nlrhb->nlqgrh", axes, products, axes).reshape(
        n, count, size, size
    )


def tangents(
    gates: ReUploadGates, layers: Layers, operators: Tensor, image: int, cuts: list[int]
) -> list[Tensor]:
    """By how much each feature moves one image's state, after some of the layers.

    Args:
        gates: The gates.
        layers: The circuit at all images.
        operators: `paulis` of the state before each layer, (n, layers, 3 · qubits, 2^qubits).
        image: Which image.
        cuts: After how many layers, ascending.

    Returns:
        For each cut, i ∂ψ/∂x_k as column k of (2^qubits, features).
    """
    left, right = layers.left[image], layers.right[image]
    order = torch.as_tensor(layers.circuit.permutations)
    count, size = operators.shape[1], operators.shape[-1]
    rows, columns = left.shape[-1], right.shape[-1]
    axes = layers.axes()[image] * (gates.w / 2)[..., None]
    parts = torch.view_as_real(operators[image]).reshape(count, -1, 3, 2 * size)
    sources = torch.view_as_complex((axes @ parts).view(count, -1, size, 2))
    reads = (torch.arange(gates.w.numel()) % gates.features).view(count, -1)
    moved = torch.zeros(size, gates.features, dtype=sources.dtype)
    found = []
    for layer in range(count):
        moved.index_add_(1, reads[layer], sources[layer].mT)
        block = (left[layer] @ moved.view(rows, -1)).view(rows, columns, -1)
        moved = (right[layer] @ block).view(size, -1)[order[layer]]
        if layer + 1 in cuts:
            found.append(moved.clone())
    return found


def gram(columns: Tensor) -> Tensor:
    """Re(V†V) of complex columns (rows, k), real (k, k)."""
    parts = torch.cat([columns.real, columns.imag])
    return parts.mT @ parts


def z_diagonals(circuit: Circuit) -> Tensor:
    """The diagonal of Z on each measured wire, (m, 2^qubits) float64."""
    index = torch.arange(2**circuit.qubits)
    bits = [(index >> (circuit.qubits - 1 - wire)) & 1 for wire in circuit.measured]
    return (1 - 2 * torch.stack(bits)).double()
