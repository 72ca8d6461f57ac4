"""What every circuit of one's own is here: a torch module that an engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.errors import DataError, UsageError
from qbench.interfaces import Engine
from qbench_engines.statevector import StatevectorEngine

MOST_QUBITS = 16  # that the exact engines train in reasonable time


class CircuitLayer(nn.Module):
    """A circuit from images (n, features) to what is read from its outcomes (n, k).

    Args:
        features: Length of an image.
        engine: Where it runs; a module's attribute, in whose place others are put.
    """

    engine: Engine
    readout: Tensor  # (2^m, k): what is read is linear in the outcomes' probabilities

    def __init__(self, features: int, engine: Engine | None) -> None:
        super().__init__()
        self.features = features
        self.engine = engine or StatevectorEngine()

    def asked(self, x: Tensor) -> tuple[Circuit, Tensor, Tensor | None]:
        """The circuit, its angles (n, layers, qubits, 3) and initial states for images x."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """What is read (n, k) for images x (n, features).

        Raises:
            DataError: Images of another length.
        """
        if x.dim() != 2 or x.shape[1] != self.features:
            raise DataError(
                f"a circuit of {self.features} inputs takes images (n, {self.features}), not "
                f"{tuple(x.shape)}"
            )
        probabilities = self.engine.probabilities(*self.asked(x))
        return probabilities @ self.readout.to(probabilities)


def filled(circuit: Circuit, angles: Mapping[int, Any], x: Tensor) -> Tensor:
    """Rotation angles (n, layers, qubits, 3) for images x (n, features).

    Args:
        circuit: With its constants.
        angles: All others by index, each a tensor () or (n,).
        x: The images, whose precision the angles get.
    """
    constants = x.new_zeros(3 * circuit.qubits * circuit.layers)
    if circuit.constants:
        places, values = zip(*circuit.constants, strict=True)
        constants[list(places)] = x.new_tensor(values)
    full = constants.expand(len(x), -1)
    if angles:
        found = [torch.as_tensor(angle).to(x).expand(len(x)) for angle in angles.values()]
        full = full.index_copy(
            1, torch.tensor(list(angles), device=x.device), torch.stack(found, 1)
        )
    return full.view(-1, *circuit.angles_shape)


def check_size(what: str, qubits: int) -> None:
    """Raise `UsageError` for a circuit of no qubits, or of more than are simulated."""
    if not 1 <= qubits <= MOST_QUBITS:
        raise UsageError(f"{what} uses {qubits} qubits: engines run 1 to {MOST_QUBITS}")


def refuse(what: str, reason: str) -> NoReturn:
    """Raise `UsageError` for a circuit that no engine runs."""
    raise UsageError(f"{what} {reason}")
