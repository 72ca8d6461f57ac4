"""A re-uploading circuit's states and what its rotations move them by."""

from __future__ import annotations

import math
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


def turned(layers: Layers, vectors: Tensor, found: Tensor | None = None) -> Tensor:
    """What each rotation's derivative does to vectors before every layer (n, layers, 2^qubits).

    Args:
        layers: The circuit.
        vectors: complex128.
        found: Where the result goes if not to new memory, for as many images or more.

    Returns:
        ½ (a·σ) v for the axis a of every rotation, (n, layers, 3 · qubits, 2^qubits).
    """
    n, count, size = vectors.shape
    qubits, index = layers.circuit.qubits, torch.arange(size)
    bit = 2 ** torch.arange(qubits - 1, -1, -1)[:, None]
    sign = torch.where((index & bit) > 0, -1.0, 1.0).double()
    flips = (index ^ bit).flatten()
    if found is None:
        found = vectors.new_empty(n, count, 3 * qubits, size)
    flipped = vectors.new_empty(count, qubits, size)
    paulis = vectors.new_empty(count, qubits, 3, size)
    parts, axes = torch.view_as_real(paulis), layers.axes() / 2
    for image, vector in enumerate(vectors):
        torch.index_select(vector, 1, flips, out=flipped.view(count, -1))
        paulis[:, :, 0] = flipped
        torch.mul(flipped.imag, sign, out=parts[:, :, 1, :, 0])
        torch.mul(flipped.real, -sign, out=parts[:, :, 1, :, 1])
        torch.mul(vector[:, None], sign, out=paulis[:, :, 2])
        into = torch.view_as_real(found[image]).view(-1, 3, 2 * size)
        torch.bmm(axes[image].flatten(0, 1), parts.view(-1, 3, 2 * size), out=into)
    return found[:n]


def products(turned: Tensor) -> Tensor:
    """Real parts of the inner products of `turned` within each layer, (n, layers, g, g)."""
    parts = torch.view_as_real(turned).flatten(-2)
    return parts @ parts.mT


def tangents(
    gates: ReUploadGates, layers: Layers, turned: Tensor, image: int, found: Tensor
) -> None:
    """By how much each feature moves one image's state, to single precision (`rounding`).

    Args:
        gates: The gates.
        layers: The circuit at all images.
        turned: That of the states before every layer.
        image: Which image.
        found: Where they go: i ∂ψ/∂x_k as column k of (layers + 1, 2^qubits, features) complex64.
            Entry l is what the rotations of layers 0..l move the state before layer l by; the last
            is about the state at the end.
    """
    left, right = layers.left[image].to(torch.complex64), layers.right[image].to(torch.complex64)
    order = torch.as_tensor(layers.circuit.permutations)
    size, rows = turned.shape[-1], left.shape[-1]
    right = right[:, None].expand(-1, rows, -1, -1)
    found[0] = 0
    block = found.new_empty(rows, size // rows * gates.features)
    other = block.new_empty(rows, size // rows, gates.features)  # new memory costs more than sums
    for layer, (features, reading) in enumerate(gates.in_layers):
        sources = turned[image, layer].mT @ reading
        moved = found[layer].index_add_(1, features, sources.to(torch.complex64))
        torch.mm(left[layer], moved.view(rows, -1), out=block)
        torch.bmm(right[layer], block.view_as(other), out=other)
        torch.index_select(other.view(size, -1), 0, order[layer], out=found[layer + 1])


def rounding(circuit: Circuit) -> tuple[float, float]:
    """How far `tangents` and `gram` can be from exact, for any order of summation.

    Applying a unitary of k qubits sums 2^(k + 1) products of real numbers; the magnitudes of its
    entries, real and imaginary part apart, have the norm 2^((k + 1)/2) at most.

    Returns:
        By how much of Σ_j |R_jk|/2 the tangent of feature k can be off, in its norm; by how much of
        the product of two columns' norms an entry of their `gram` can be off.
    """
    unit = torch.finfo(torch.float32).eps / 2
    halves = (circuit.qubits + 1) // 2, circuit.qubits // 2
    layer = sum((2 ** (k + 1) + 2) * 2 ** ((k + 1) / 2) for k in halves) + 2
    tangent = math.expm1(1.01 * unit * (circuit.layers * layer + 2))
    return tangent, 1.01 * unit * 2 ** (circuit.qubits + 1)


def gram(columns: Tensor) -> Tensor:
    """Re(V†V) of complex64 columns (rows, k): summed in single precision, (k, k) float64."""
    parts = torch.cat([columns.real, columns.imag])
    return (parts.mT @ parts).double()


def z_diagonals(circuit: Circuit) -> Tensor:
    """The diagonal of Z on each measured wire, (m, 2^qubits) float64."""
    index = torch.arange(2**circuit.qubits)
    bits = [(index >> (circuit.qubits - 1 - wire)) & 1 for wire in circuit.measured]
    return (1 - 2 * torch.stack(bits)).double()
