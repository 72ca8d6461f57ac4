"""Quantum classifiers: four scores ⟨Z_0⟩..⟨Z_3⟩ of a strongly entangling circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.errors import DataError
from qbench.interfaces import Engine
from qbench_engines.statevector import StatevectorEngine, quadratic_forms

_SMALL = 0.01  # parameters start as 0.01 · uniform[0, 1)


class CircuitClassifier(nn.Module):
    """A circuit and the engine that runs it; the score of class k is ⟨Z⟩ of measured wire k."""

    engine: Engine

    def __init__(self, circuit: Circuit, engine: Engine | None = None) -> None:
        super().__init__()
        self.circuit = circuit
        self.engine = engine or StatevectorEngine()


class ReUpload(CircuitClassifier):
    """Data re-uploading (Pérez-Salinas et al. 2020; Wendlinger et al. 2024, Sec. III).

    The rotation angles are `w · tile(x) + θ`, read in the order (layer, qubit, 3): every feature
    is read by as many gates as it takes to fill them all.

    Args:
        qubits, layers, classes: Size; classes are measured on the first wires.
        features: Length of an input; must divide 3 · qubits · layers.
        engine: Where the circuit runs.
        penalty: What regularisation keeps small: the `"squares"` of the weights, as the paper, or
            the `"grouped"` bound on how far a perturbation in ℓ∞ can turn the state.
    """

    published_names: ClassVar[Mapping[str, str]] = {
        "qcircuit.weights": "w",
        "qcircuit.bias": "theta",
    }

    def __init__(
        self,
        qubits: int = 8,
        layers: int = 32,
        classes: int = 4,
        features: int = 256,
        engine: Engine | None = None,
        penalty: Literal["squares", "grouped"] = "squares",
    ) -> None:
        super().__init__(Circuit(qubits, layers, tuple(range(classes))), engine)
        shape = self.circuit.angles_shape
        self.features, self.penalty = features, penalty
        self.repeats, rest = divmod(3 * qubits * layers, features)
        if rest:
            raise ValueError(f"{features} features do not divide {3 * qubits * layers} rotations")
        self.w = nn.Parameter(_SMALL * torch.rand(shape))
        self.theta = nn.Parameter(_SMALL * torch.rand(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        tiled = x.repeat(1, self.repeats).view(-1, *self.circuit.angles_shape)
        angles = torch.addcmul(self.theta, tiled, self.w)
        return expectations(self.engine.probabilities(self.circuit, angles))

    def regularisation(self) -> Tensor:
        """Σ (w/2)² over every weight (Wendlinger et al. 2024, Eq. 8 with ‖H‖ = ½), or (Σ |w|)².

        Within ‖δ‖∞ ≤ ε the states for x and x + δ are at a Bures angle of at most ½ ε Σ |w|: the
        sum over features of what their gates add up to.
        """
        if self.penalty == "grouped":
            return self.w.abs().sum().square()
        return (self.w / 2).square().sum()


class SplitReUpload(CircuitClassifier):
    """Data re-uploading in few layers on a line of qubits, for devices.

    Features are read one after the other, `reads` times over, by the rotations in the order
    (layer, qubit, 3), starting again at the first until all are read: rotation j has the angle
    `θ_j + Σ w_tk x_k` over the reads (t, k) with `t · features + k ≡ j` modulo the number of
    rotations. That is what each rotation becomes where several re-uploading gates about its axis
    follow one another. CNOTs join neighbours on the line, so a device without rings needs no swaps.

    Args:
        qubits, layers, classes: Size; classes are measured on the first wires.
        features: Length of an input.
        reads: How often each feature is read; all reads together must be shared out evenly among
            the 3 · qubits · layers rotations.
        engine: Where the circuit runs.
    """

    def __init__(
        self,
        qubits: int = 4,
        layers: int = 4,
        classes: int = 4,
        features: int = 256,
        reads: int = 3,
        engine: Engine | None = None,
    ) -> None:
        circuit = Circuit(qubits, layers, tuple(range(classes)), (1,) * layers, closed=False)
        super().__init__(circuit, engine)
        rotations = 3 * qubits * layers
        self.share, rest = divmod(reads * features, rotations)
        if features < 1 or reads < 1 or rest:
            raise ValueError(
                f"{reads} reads of {features} features cannot be shared out evenly "
                f"among {rotations} rotations"
            )
        self.features = features
        self.w = nn.Parameter(_SMALL * torch.rand(reads, features))
        self.theta = nn.Parameter(_SMALL * torch.rand(circuit.angles_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        return expectations(self.engine.probabilities(self.circuit, self.angles(x)))

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (n, layers, qubits, 3) of images x (n, features)."""
        terms = (x[:, None] * self.w).view(-1, self.share, *self.circuit.angles_shape)
        return self.theta + terms.sum(1)

    def reading(self) -> Tensor:
        """R (rotations, features) with the angles θ + R x, rotations in the order they are read."""
        rotation = torch.arange(self.w.numel()).view_as(self.w) % self.theta.numel()
        empty = self.w.new_zeros(self.theta.numel(), self.features)
        feature = torch.arange(self.features).expand_as(self.w)
        return empty.index_put((rotation, feature), self.w, accumulate=True)

    def regularisation(self) -> Tensor:
        """Σ (w/2)² over every weight, as for `ReUpload`: each read counts as a gate."""
        return (self.w / 2).square().sum()


class Amplitude(CircuitClassifier):
    """Amplitude encoding: the state x/‖x‖₂, then a trained circuit that does not read x.

    Args:
        qubits, layers, classes: Size; an image has 2^qubits features.
        engine: Where the circuit runs.
    """

    published_names: ClassVar[Mapping[str, str]] = {"qcircuit.weights": "theta"}

    def __init__(
        self, qubits: int = 8, layers: int = 32, classes: int = 4, engine: Engine | None = None
    ) -> None:
        super().__init__(Circuit(qubits, layers, tuple(range(classes))), engine)
        self.theta = nn.Parameter(_SMALL * torch.rand(self.circuit.angles_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, 2^qubits).

        Raises:
            DataError: An image is all zero and so has no amplitude encoding.
        """
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        if not bool((norm > 0).all()):
            index = int((norm[:, 0] > 0).logical_not().nonzero()[0])
            raise DataError(
                f"image {index} is all zero (or not a number): it has no amplitude encoding; "
                "leave it out or use another model"
            )
        return expectations(self.engine.probabilities(self.circuit, self.theta, x / norm))

    def quadratic_forms(self) -> Tensor:
        """Symmetric A_k (classes, d, d) with scores f_k(x) = x̂ᵀ A_k x̂ for x̂ = x/‖x‖₂."""
        return quadratic_forms(self.circuit, self.theta.detach())
