"""Small circuits with noise between all gates, by density matrix, and attacks on them."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit, z_signs
from qbench_quantum.models import ReUpload

PAULIS = torch.tensor(
    [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
)


@lru_cache
def _on(pauli: int, qubit: int, qubits: int) -> Tensor:
    """A Pauli matrix on one of the qubits, (2^n, 2^n)."""
    before = torch.eye(2**qubit, dtype=torch.complex128)
    after = torch.eye(2 ** (qubits - qubit - 1), dtype=torch.complex128)
    return torch.kron(torch.kron(before, PAULIS[pauli].contiguous()), after)


class Depolarised:
    """Depolarising noise after every single rotation and on both qubits of a CNOT, exactly.

    Args:
        probability: Of each.
    """

    name, exact, differentiable = "depolarised", False, False

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def states(self, circuit: Circuit, angles: Tensor) -> Tensor:
        """Density matrices (batch, 2^n, 2^n)."""
        n, angles = circuit.qubits, angles.detach().double()
        rho = torch.zeros(len(angles), 2**n, 2**n, dtype=torch.complex128)
        rho[:, 0, 0] = 1
        one = torch.eye(2**n, dtype=torch.complex128)
        for layer in range(circuit.layers):
            for qubit in range(n):
                for axis, pauli in enumerate((2, 1, 2)):
                    half = (angles[:, layer, qubit, axis] / 2)[:, None, None]
                    turn = half.cos() * one - 1j * half.sin() * _on(pauli, qubit, n)
                    rho = self.forget(turn @ rho @ turn.mH, qubit, n)
            order = torch.as_tensor(circuit.permutations[layer])
            rho = rho[:, order][:, :, order]
            for qubit in {q for pair in circuit.cnots[layer] for q in pair}:
                rho = self.forget(rho, qubit, n)
        return rho

    def forget(self, rho: Tensor, qubit: int, qubits: int) -> Tensor:
        """Depolarise one qubit: (1 − p) ρ + p tr_q(ρ) ⊗ 1/2."""
        before, after = 2**qubit, 2 ** (qubits - qubit - 1)
        parts = rho.view(-1, before, 2, after, before, 2, after)
        rest = (parts[:, :, 0, :, :, 0] + parts[:, :, 1, :, :, 1]) * (self.probability / 2)
        kept = parts * (1 - self.probability)
        kept[:, :, 0, :, :, 0] += rest
        kept[:, :, 1, :, :, 1] += rest
        return kept.view_as(rho)

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        assert state is None
        diagonal = self.states(circuit, angles).diagonal(dim1=1, dim2=2).real
        found = torch.zeros(len(angles), 2 ** len(circuit.measured), dtype=torch.float64)
        return found.index_add(1, torch.as_tensor(circuit.outcomes), diagonal).to(angles)


def expected_margins(model: ReUpload, x: Tensor, y: int) -> Tensor:
    """Expected score of class y less the best other one, (n,)."""
    with torch.no_grad():
        scores = model(x)
    others = scores.clone()
    others[:, y] = -torch.inf
    return scores[:, y] - others.amax(1)


def random_circuit(generator: torch.Generator, tight: bool) -> tuple[ReUpload, Tensor]:
    """A circuit in float64 with noise of its own strength, and an image of two features.

    Tight ones turn cos(a)|01⟩ + sin(a)|10⟩ with next to no noise, where the fidelity certificate
    leaves nothing unproved.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    layers = 1 if tight else 1 + int(torch.randint(2, (), generator=generator))
    model = ReUpload(qubits=2, layers=layers, classes=2, features=2).double()
    x = torch.rand(1, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.w.copy_(torch.randn(model.w.shape, generator=generator))
        model.theta.copy_(6 * torch.rand(model.theta.shape, generator=generator))
        if tight:  # RY(α) on the first qubit, RY(π) on the second, CNOT
            model.circuit = Circuit(2, 1, (0, 1), couplings=(((0, 1),),))
            model.w.zero_()
            model.w[0, 0, 1] = 1.0  # reads the second feature
            model.theta.zero_()
            model.theta[0, 1, 1] = math.pi
            model.theta[0, 0, 1] = uniform(0.2, 1.3) - float(x[0, 1])
    model.engine = Depolarised(10 ** uniform(-7, -6) if tight else 10 ** uniform(-4, -1))
    return model, x


def broken(model: ReUpload, x: Tensor, y: int, radius: float, norm: str) -> bool:
    """Whether a search of the ball around x (1, 2) finds an expected score that beats the label's.

    A grid over the ball and its border, and from its worst point a finer one.
    """
    step = torch.linspace(-1, 1, 9, dtype=torch.float64)
    grid = torch.tensor(list(itertools.product(step.tolist(), repeat=2)), dtype=torch.float64)
    if norm == "l2":
        border = grid / torch.linalg.vector_norm(grid, dim=1, keepdim=True).clamp(min=1e-12)
        grid = torch.cat([grid[torch.linalg.vector_norm(grid, dim=1) <= 1], border])
    delta, size = torch.zeros(1, 2, dtype=torch.float64), 1.0
    for _ in range(2):
        tried = delta + size * grid
        if norm == "linf":
            tried = tried.clamp(-1, 1)
        else:
            tried = tried / torch.linalg.vector_norm(tried, dim=1, keepdim=True).clamp(min=1)
        margins = expected_margins(model, x + radius * tried, y)
        if float(margins.min()) <= 0:
            return True
        delta, size = tried[margins.argmin()][None], size / 4
    return False


def outcome_angle(probabilities: Tensor, y: int) -> float:
    """The angle that an unlimited number of shots would certify, of two classes."""
    signs = torch.as_tensor(z_signs(2))
    difference = signs[:, y] - signs[:, 1 - y]
    plus, minus = probabilities[difference > 0].sum(), probabilities[difference < 0].sum()
    return float(((plus.sqrt() - minus.sqrt()) / math.sqrt(2)).clamp(min=0).asin())
