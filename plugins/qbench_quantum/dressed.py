"""A dressed circuit: a linear layer, a circuit of few qubits, a linear layer.

Mari et al. 2020 (arXiv:1912.08278) put such a circuit behind a large network that was trained
before; here it reads the pixels themselves, and all three parts are trained together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Engine
from qbench_quantum.models import CircuitClassifier

_SPREAD = 0.01  # of the circuit's first angles, as in the paper's code


class DressedCircuit(CircuitClassifier):
    """Linear → (π/2) tanh → RY angles of a circuit → ⟨Z⟩ of its qubits → Linear.

    The circuit is the paper's (Eqs. 13 and 14): qubits in |+⟩ are turned by RY(z), then layers of
    CNOTs between neighbours on a line, first those that start at even qubits, and a trained RY on
    every qubit.

    Args:
        features: Length of an input.
        classes: Their number.
        qubits: Number of qubits.
        depth: Number of trained layers.
        engine: Where the circuit runs.
    """

    def __init__(
        self,
        features: int = 256,
        classes: int = 4,
        qubits: int = 4,
        depth: int = 6,
        engine: Engine | None = None,
    ) -> None:
        line = [(q, q + 1) for q in range(qubits - 1)]
        entangling = tuple(line[0::2] + line[1::2])
        super().__init__(
            Circuit(
                qubits,
                1 + depth,
                tuple(range(qubits)),
                couplings=(*(entangling,) * depth, ()),
            ),
            engine,
        )
        self.before = nn.Linear(features, qubits)
        self.theta = nn.Parameter(_SPREAD * torch.randn(depth, qubits))
        self.after = nn.Linear(qubits, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        measured = expectations(self.engine.probabilities(self.circuit, self.angles(x)))
        return self.after(measured)  # type: ignore[no-any-return]

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (n, 1 + depth, qubits, 3) of images x (n, features)."""
        encoded = math.pi / 2 * (1 + torch.tanh(self.before(x)))  # RY(π/2) makes |+⟩ of |0⟩
        trained = self.theta.expand(len(x), -1, -1)
        turns = torch.cat([encoded[:, None], trained], 1)
        return pad(turns[..., None], (1, 1))
