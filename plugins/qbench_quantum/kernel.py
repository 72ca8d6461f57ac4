"""A quantum kernel: what a circuit's qubits hold of an image, compared by a Gaussian.

Havlíček et al. 2019 (arXiv:1804.11326) put a kernel computed by a circuit into a support vector
machine. The kernel here is the projected one of Huang et al. 2021 (arXiv:2011.01938), which
compares the qubits' own states instead of the whole one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Engine
from qbench_classical.kernel_machine import KernelMachine
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.models import qubits_for

_FEWEST_QUBITS = 4
_PLUS = (0.0, math.pi / 2, 0.0)  # angles that make |+⟩ of |0⟩
# Angles that turn the eigenvectors of X, Y and Z into those of Z.
_BASES = ((0.0, -math.pi / 2, 0.0), (-math.pi / 2, -math.pi / 2, 0.0), (0.0, 0.0, 0.0))


class QuantumKernelMachine(KernelMachine):
    """A support vector machine on z(x) = (⟨X_q⟩, ⟨Y_q⟩, ⟨Z_q⟩) of every qubit q.

    Qubits start in |+⟩. Layers of `Rot` gates and rings of CNOTs follow, in which rotation j has
    the angle s x_k for the feature k = j modulo `features`, so that each is read once, or more
    often where there are few. Nothing of the circuit is trained. Each image takes three circuits,
    one a basis. ‖z(x) − z(x')‖² is twice the sum over the qubits of ‖ρ_q(x) − ρ_q(x')‖² in the
    Frobenius norm.

    Args:
        features: Length of an input.
        classes: Their number.
        vectors, width, cost: See `KernelMachine`.
        scale: s, the bandwidth of the encoding (Shaydulin and Wild 2022, arXiv:2111.05451).
        engine: Where the circuits run.
    """

    engine: Engine

    def __init__(
        self,
        features: int = 256,
        classes: int = 4,
        vectors: int = 1000,
        width: float = 1.0,
        cost: float = 1.0,
        scale: float = 1.0,
        engine: Engine | None = None,
    ) -> None:
        qubits = qubits_for(features, _FEWEST_QUBITS)
        super().__init__(features, classes, vectors, width, cost, length=3 * qubits)
        self.features, self.scale = features, scale
        layers = -(-features // (3 * qubits))
        ring = Circuit(qubits, layers).cnots
        self.circuit = Circuit(qubits, layers + 2, tuple(range(qubits)), couplings=((), *ring, ()))
        self.engine = engine or StatevectorEngine()

    def embedded(self, x: Tensor) -> Tensor:
        """z (n, 3 · qubits) of images x (n, features)."""
        measured = expectations(self.engine.probabilities(self.circuit, self.angles(x)))
        return measured.view(len(x), -1)

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (3n, layers, qubits, 3) of images x (n, features): X, Y, Z of each."""
        layers, qubits, _ = self.circuit.angles_shape
        rotations = 3 * qubits * (layers - 2)
        tiled = x.repeat(1, -(-rotations // self.features))[:, :rotations]
        read = (self.scale * tiled).view(-1, 1, layers - 2, qubits, 3).expand(-1, 3, -1, -1, -1)
        first = x.new_tensor(_PLUS).expand(len(x), 3, 1, qubits, 3)
        last = x.new_tensor(_BASES).view(1, 3, 1, 1, 3).expand(len(x), -1, -1, qubits, -1)
        return torch.cat([first, read, last], 2).flatten(0, 1)
