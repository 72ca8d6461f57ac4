"""A quanvolutional network: a small circuit slides over the image, a linear layer classifies.

Henderson et al. 2019 (arXiv:1904.04767) put quanvolution in the place of a convolution, with random
circuits; AdvQuNN (El Maouaki et al. 2024, arXiv:2403.05596) attacks such networks with parametrised
circuits of several forms in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.errors import Unsupported
from qbench.interfaces import Engine
from qbench_quantum.models import CircuitClassifier

_SIDE = 2  # of a patch, in pixels


class Quanvolution(CircuitClassifier):
    """2x2 patches without overlap, each read by one circuit of four qubits; then a linear layer.

    A pixel x is the rotation RY(πx) of its qubit; a ring of CNOTs and strongly entangling layers
    follow, the same for every patch. Their four ⟨Z⟩ are the channels of a map of half the image's
    rows and columns. The circuit starts at random angles, as Henderson's, and is trained.

    Args:
        image_shape: Rows and columns, at least 2 each; an odd one is filled up with zeros.
        classes: Their number.
        layers: Trained layers, of 12 angles each.
        engine: Where the circuits run, one for each patch.

    Raises:
        Unsupported: There are no images of that size.
    """

    def __init__(
        self,
        image_shape: Sequence[int] | None = (16, 16),
        classes: int = 4,
        layers: int = 2,
        engine: Engine | None = None,
    ) -> None:
        if image_shape is None:
            raise Unsupported("its circuit slides over images, and a table has none")
        rows, columns = image_shape
        if min(rows, columns) < _SIDE:
            raise Unsupported(
                f"its circuit slides over images of at least {_SIDE}x{_SIDE}, not {rows}x{columns}"
            )
        qubits = _SIDE**2
        super().__init__(Circuit(qubits, 1 + layers, tuple(range(qubits))), engine)
        self.image_shape = rows, columns
        self.patches = math.ceil(rows / _SIDE), math.ceil(columns / _SIDE)
        self.theta = nn.Parameter(2 * math.pi * torch.rand(layers, qubits, 3))
        self.linear = nn.Linear(qubits * math.prod(self.patches), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, rows · columns)."""
        return self.linear(self.maps(x).flatten(1))  # type: ignore[no-any-return]

    def maps(self, x: Tensor) -> Tensor:
        """What the circuits measure, (n, 4, patches): ⟨Z⟩ of each qubit for each patch."""
        (rows, columns), (down, across) = self.image_shape, self.patches
        images = pad(x.view(-1, rows, columns), (0, columns % _SIDE, 0, rows % _SIDE))
        patches = images.view(-1, down, _SIDE, across, _SIDE).transpose(2, 3)
        pixels = patches.reshape(-1, 1, self.circuit.qubits, 1)
        encoding = pad(math.pi * pixels, (1, 1))
        trained = self.theta.expand(len(encoding), -1, -1, -1)
        angles = torch.cat([encoding, trained], dim=1)
        measured = expectations(self.engine.probabilities(self.circuit, angles))
        return measured.view(-1, down * across, self.circuit.qubits).mT
