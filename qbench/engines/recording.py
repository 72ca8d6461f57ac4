"""An engine that runs nothing and keeps what it is asked: the circuits of a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit


@dataclass(frozen=True)
class Batch:
    """The circuits of a batch of images, as an engine gets them."""

    circuit: Circuit
    angles: Tensor
    state: Tensor | None

    def rows(self, first: int, last: int) -> Batch:
        """Some of the images."""
        angles = self.angles[first:last] if self.angles.dim() == 4 else self.angles
        return Batch(self.circuit, angles, None if self.state is None else self.state[first:last])

    def __len__(self) -> int:
        if self.state is not None:
            return len(self.state)
        return len(self.angles) if self.angles.dim() == 4 else 1


class Recorder:
    """Keeps every batch of circuits, and answers with uniform distributions."""

    name = "recorder"
    exact = False
    differentiable = False

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Uniform (batch, 2^m); arguments as in `qbench.interfaces.Engine`."""
        batch = Batch(circuit, angles.detach(), None if state is None else state.detach())
        self.batches.append(batch)
        outcomes = 2 ** len(circuit.measured)
        return torch.full((len(batch), outcomes), 1 / outcomes).to(angles)
