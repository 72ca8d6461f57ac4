"""Quantum classifiers: the scores ⟨Z_0⟩, ⟨Z_1⟩, … of a strongly entangling circuit.

Sizes that are left out follow from the data: one qubit a class, and enough for the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.errors import DataError, Unsupported
from qbench.interfaces import Engine
from qbench_engines.statevector import StatevectorEngine, quadratic_forms

SMALL = 0.01  # parameters start as 0.01 · uniform[0, 1)
_FEWEST_LAYERS = 16  # with 2, which read the four features of iris thrice, a circuit learns little
_MOST_QUBITS = 16  # that a circuit is given to fit the data: beyond, one training takes days


def qubits_for(features: int, classes: int) -> int:
    """As many as a state of that many amplitudes needs, at least one a class and two in all.

    Raises:
        Unsupported: Those are more than a simulator can train.
    """
    qubits = max(2, classes, (features - 1).bit_length())
    if qubits > _MOST_QUBITS:
        raise Unsupported(
            f"{classes} classes and {features} features ask for {qubits} qubits, and at most "
            f"{_MOST_QUBITS} can be trained: use fewer classes, or a classical model"
        )
    return qubits


def layers_for(features: int, qubits: int) -> int:
    """As many as have three rotations a feature, and enough to learn from few features."""
    return max(_FEWEST_LAYERS, -(-features // qubits))


class CircuitClassifier(nn.Module):
    """A circuit and the engine that runs it; the score of class k is ⟨Z⟩ of measured wire k."""

    engine: Engine

    def __init__(self, circuit: Circuit, engine: Engine | None = None) -> None:
        super().__init__()
        self.circuit = circuit
        self.engine = engine or StatevectorEngine()


class ReUpload(CircuitClassifier):
    """Data re-uploading (Pérez-Salinas et al. 2020; Wendlinger et al. 2024, Sec. III).

    The rotation angles are `w · tile(x) + θ`, read in the order (layer, qubit, 3): rotation j
    reads feature j modulo `features`, so that some are read once more than others where
    `features` does not divide the number of rotations.

    Args:
        qubits: Number of qubits; by default as many as `qubits_for` says.
        layers: Number of layers; by default as many as `layers_for` says, which read every feature
            at least three times.
        classes: Their number; they are measured on the first wires.
        features: Length of an input.
        engine: Where the circuit runs.
        penalty: What regularisation keeps small: the `"squares"` of the weights, as the paper, or
            the `"grouped"` bound on how far a perturbation in ℓ∞ can turn the state.
        encoding: What every weight is held at, so that θ alone is trained and no penalty changes
            anything (Berberich et al. 2023); by default the weights are trained.
    """

    published_names: ClassVar[Mapping[str, str]] = {
        "qcircuit.weights": "w",
        "qcircuit.bias": "theta",
    }

    def __init__(
        self,
        qubits: int | None = None,
        layers: int | None = None,
        classes: int = 4,
        features: int = 256,
        engine: Engine | None = None,
        penalty: Literal["squares", "grouped"] = "squares",
        encoding: float | None = None,
    ) -> None:
        if qubits is None:
            qubits = qubits_for(features, classes)
        if layers is None:
            layers = layers_for(features, qubits)
        super().__init__(Circuit(qubits, layers, tuple(range(classes))), engine)
        shape = self.circuit.angles_shape
        self.features, self.penalty = features, penalty
        self.rotations = 3 * qubits * layers
        if not 1 <= features <= self.rotations:
            raise ValueError(f"{self.rotations} rotations cannot read {features} features")
        w = SMALL * torch.rand(shape) if encoding is None else torch.full(shape, float(encoding))
        self.w = nn.Parameter(w, requires_grad=encoding is None)
        self.theta = nn.Parameter(SMALL * torch.rand(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        tiled = x.repeat(1, -(-self.rotations // self.features))[:, : self.rotations]
        tiled = tiled.reshape(-1, *self.circuit.angles_shape)
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
        qubits: Number of qubits, by default 4 or one a class.
        layers: Number of layers.
        classes: Their number; they are measured on the first wires.
        features: Length of an input.
        reads: How often each feature is read; by default three times, or as often as it takes for
            every rotation to read one.
        engine: Where the circuit runs.
        penalty: What regularisation keeps small: the `"squares"` of the weights, or those of the
            `"widths"` by which the angles can move.
    """

    def __init__(
        self,
        qubits: int | None = None,
        layers: int = 4,
        classes: int = 4,
        features: int = 256,
        reads: int | None = None,
        engine: Engine | None = None,
        penalty: Literal["squares", "widths"] = "squares",
    ) -> None:
        if features < 1 or (reads is not None and reads < 1):
            raise ValueError(f"{reads} reads of {features} features: give at least 1 of each")
        if qubits is None:
            qubits = max(4, qubits_for(1, classes))
        circuit = Circuit(qubits, layers, tuple(range(classes)), (1,) * layers, closed=False)
        super().__init__(circuit, engine)
        rotations = 3 * qubits * layers
        if reads is None:
            reads = max(3, -(-rotations // features))
        self.share = -(-reads * features // rotations)
        self.features, self.penalty = features, penalty
        self.w = nn.Parameter(SMALL * torch.rand(reads, features))
        self.theta = nn.Parameter(SMALL * torch.rand(circuit.angles_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        return expectations(self.engine.probabilities(self.circuit, self.angles(x)))

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (n, layers, qubits, 3) of images x (n, features)."""
        terms = (x[:, None] * self.w).flatten(1)
        idle = self.share * self.theta.numel() - self.w.numel()  # rotations of the last round
        terms = pad(terms, (0, idle)).view(-1, self.share, *self.circuit.angles_shape)
        return self.theta + terms.sum(1)

    def reading(self) -> Tensor:
        """R (rotations, features) with the angles θ + R x, rotations in the order they are read."""
        rotation = torch.arange(self.w.numel()).view_as(self.w) % self.theta.numel()
        empty = self.w.new_zeros(self.theta.numel(), self.features)
        feature = torch.arange(self.features).expand_as(self.w)
        return empty.index_put((rotation, feature), self.w, accumulate=True)

    def regularisation(self) -> Tensor:
        """Σ (w/2)² over every weight, as for `ReUpload`: each read is a gate. Or Σ_j (Σ |w|)².

        The inner sum is over what rotation j reads: within ‖δ‖∞ ≤ ε it turns by at most ε times
        that, and the squares of these turns are what `circuit-operator` loses.
        """
        if self.penalty == "widths":
            return self.reading().abs().sum(1).square().sum()
        return (self.w / 2).square().sum()


def amplitudes(x: Tensor, qubits: int) -> Tensor:
    """The states x/‖x‖₂ (n, 2^qubits) of images x (n, features), filled up with zeros.

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
    return pad(x / norm, (0, 2**qubits - x.shape[1]))


class AmplitudeEncoded(CircuitClassifier):
    """A circuit that does not read x, on the state x/‖x‖₂.

    Args:
        circuit: The circuit; its angles are those of `angles()`.
        features: Length of an input; amplitudes beyond it are 0.
        engine: Where the circuit runs.
    """

    def __init__(self, circuit: Circuit, features: int, engine: Engine | None = None) -> None:
        super().__init__(circuit, engine)
        self.features = features

    def angles(self) -> Tensor:
        """The circuit's rotation angles (layers, qubits, 3)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features).

        Raises:
            DataError: An image is all zero and so has no amplitude encoding.
        """
        state = amplitudes(x, self.circuit.qubits)
        return expectations(self.engine.probabilities(self.circuit, self.angles(), state))

    def quadratic_forms(self) -> Tensor:
        """Symmetric A_k (classes, d, d) with scores f_k(x) = x̂ᵀ A_k x̂ for x̂ = x/‖x‖₂.

        They are those of the whole state space, less the rows and columns of amplitudes that are 0.
        """
        whole = quadratic_forms(self.circuit, self.angles().detach())
        return whole[:, : self.features, : self.features].contiguous()


class Amplitude(AmplitudeEncoded):
    """Amplitude encoding: the state x/‖x‖₂, then a trained circuit that does not read x.

    Args:
        layers: Number of layers; by default as many as `layers_for` says.
        classes: Their number; they are measured on the first wires.
        features: Length of an input; amplitudes beyond it are 0.
        engine: Where the circuit runs.
    """

    published_names: ClassVar[Mapping[str, str]] = {"qcircuit.weights": "theta"}

    def __init__(
        self,
        layers: int | None = None,
        classes: int = 4,
        features: int = 256,
        engine: Engine | None = None,
    ) -> None:
        qubits = qubits_for(features, classes)
        if layers is None:
            layers = layers_for(features, qubits)
        super().__init__(Circuit(qubits, layers, tuple(range(classes))), features, engine)
        self.theta = nn.Parameter(SMALL * torch.rand(self.circuit.angles_shape))

    def angles(self) -> Tensor:
        """θ itself, (layers, qubits, 3)."""
        return self.theta
