"""Amplitude encoding behind a random encoder that is drawn anew for every image and pass.

Gong et al. 2022 (arXiv:2212.02531) encode each sample by a random unitary, global or on single
qubits, which the adversary, who perturbs the encoded state, does not know.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Engine
from qbench_quantum.models import (
    SMALL,
    CircuitClassifier,
    amplitudes,
    layers_for,
    qubits_for,
)


class RandomisedAmplitude(CircuitClassifier):
    """The state x/‖x‖₂, a random rotation of every qubit, then a trained circuit that reads no x.

    The rotations `RZ(ω) RY(θ) RZ(φ)` have independent normal angles, drawn from torch's generator,
    in training too. Pixels are perturbed before the encoder, so one that the classifier could undo
    would change nothing: the classifier is not told what was drawn.

    Args:
        layers: Number of trained layers; by default as many as `layers_for` says.
        classes: Their number; they are measured on the first wires.
        features: Length of an input; amplitudes beyond it are 0.
        spread: Standard deviation of the encoder's angles, in radians.
        engine: Where the circuit runs.
    """

    def __init__(
        self,
        layers: int | None = None,
        classes: int = 4,
        features: int = 256,
        spread: float = 0.3,
        engine: Engine | None = None,
    ) -> None:
        if spread < 0:
            raise ValueError(f"spread is {spread}: give a number of at least 0")
        qubits = qubits_for(features, classes)
        if layers is None:
            layers = layers_for(features, qubits)
        measured = tuple(range(classes))
        trained = Circuit(qubits, layers, measured)
        whole = Circuit(qubits, 1 + layers, measured, couplings=((), *trained.cnots))
        super().__init__(whole, engine)
        self.spread = spread
        self.theta = nn.Parameter(SMALL * torch.rand(trained.angles_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features), other ones in every call.

        Raises:
            DataError: An image is all zero and so has no amplitude encoding.
        """
        state = amplitudes(x, self.circuit.qubits)
        return expectations(self.engine.probabilities(self.circuit, self.angles(len(x)), state))

    def angles(self, images: int) -> Tensor:
        """Rotation angles (images, 1 + layers, qubits, 3), those of the first layer at random."""
        encoder = self.spread * torch.randn(images, 1, *self.theta.shape[1:]).to(self.theta)
        return torch.cat([encoder, self.theta.expand(images, -1, -1, -1)], 1)
