"""The `torch` engine: the readable reference, on any torch device and in any precision.

A layer's one-qubit rotations act on n qubits as one Kronecker product. Seen as a matrix with the
first half of the qubits as rows and the rest as columns, the state is multiplied by the product of
the first half from the left and by that of the second half from the right; the CNOT ring that
follows only permutes amplitudes.
"""

from __future__ import annotations

from functools import lru_cache, reduce

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit, z_signs


class TorchEngine:
    """Exact probabilities by plain torch operations, differentiable by autograd."""

    name = "torch"
    exact = True
    differentiable = True

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires.

        Args:
            circuit: The circuit to run.
            angles: (batch, layers, qubits, 3), or (layers, qubits, 3) shared by the batch; radians.
            state: Initial amplitudes (batch, 2^n); |0...0> when absent.

        Returns:
            Probabilities (batch, 2^m), the first measured wire as the highest bit.
        """
        n, rows = circuit.qubits, 2 ** ((circuit.qubits + 1) // 2)
        rotations = rotation_matrices(angles)
        left = kronecker(rotations[..., : (n + 1) // 2, :, :])
        right = kronecker(rotations[..., (n + 1) // 2 :, :, :]).mT
        if state is None:
            batch = angles.shape[0] if angles.dim() == 4 else 1
            state = angles.new_zeros(batch, 2**n)
            state[:, 0] = 1
        psi = state.to(rotations.dtype).reshape(state.shape[0], rows, -1)
        permutations = _on_device(circuit, angles.device)
        for layer in range(circuit.layers):
            psi = left[..., layer, :, :] @ psi @ right[..., layer, :, :]
            psi = psi.flatten(1)[:, permutations[layer]].view_as(psi)
        density = torch.view_as_real(psi.flatten(1)).square().sum(-1)
        outcomes = torch.as_tensor(circuit.outcomes, device=angles.device)
        empty = density.new_zeros(density.shape[0], 2 ** len(circuit.measured))
        return empty.index_add(1, outcomes, density)


def expectations(probabilities: Tensor) -> Tensor:
    """⟨Z_k⟩ of each measured wire, (batch, m), from a distribution (batch, 2^m)."""
    m = probabilities.shape[-1].bit_length() - 1
    return probabilities @ torch.as_tensor(z_signs(m)).to(probabilities)


def rotation_matrices(angles: Tensor) -> Tensor:
    """`RZ(ω) RY(θ) RZ(φ)` for angles (..., 3) = (φ, θ, ω), as complex (..., 2, 2)."""
    phi, theta, omega = angles.unbind(-1)
    cos, sin = torch.cos(theta / 2), torch.sin(theta / 2)
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    a = torch.complex(cos * torch.cos(plus), -cos * torch.sin(plus))
    b = torch.complex(-sin * torch.cos(minus), -sin * torch.sin(minus))
    return torch.stack([a, b, -b.conj(), a.conj()], -1).reshape(*a.shape, 2, 2)


def kronecker(matrices: Tensor) -> Tensor:
    """Kronecker product of k matrices (..., k, 2, 2) as (..., 2^k, 2^k), the first outermost."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        size = a.shape[-1] * b.shape[-1]
        return torch.einsum("...ij,...kl->...ikjl", a, b).reshape(*a.shape[:-2], size, size)

    return reduce(product, matrices.unbind(-3))


@lru_cache(maxsize=32)
def _on_device(circuit: Circuit, device: torch.device) -> Tensor:
    return torch.as_tensor(circuit.permutations, device=device)
