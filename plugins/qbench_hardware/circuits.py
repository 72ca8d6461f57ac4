"""Between a model and a device: what circuits an image takes, and what scores their counts give.

A model hands angles to its engine and turns probabilities into scores. Here it hands them to an
engine that only writes them down, and later gets from another one what the device counted, so a
model's preprocessing and its reading of the outcomes stay its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.errors import UsageError
from qbench.evaluation.crafting import frozen
from qbench.evaluation.scoring import predict
from qbench.interfaces import Engine


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


def circuits_of(model: nn.Module, x: Tensor) -> Batch:
    """The circuits that a model runs for images x (n, features).

    Raises:
        UsageError: It runs none, or not one for each image.
    """
    recorder = _Recorder()
    with on_engine(model, recorder), frozen(model), torch.no_grad():
        model(x)
    if len(recorder.batches) != 1 or len(recorder.batches[0]) != len(x):
        raise UsageError(
            f"{type(model).__name__} runs {len(recorder.batches)} batches of circuits for "
            f"{len(x)} images: devices run models with one circuit for each image"
        )
    return recorder.batches[0]


def scores_of(model: nn.Module, x: Tensor, probabilities: NDArray[np.float64]) -> Tensor:
    """Scores (n, classes) that a model reads from the distributions (n, 2^m) of its circuits."""
    with on_engine(model, Replayed([probabilities])):
        return predict(model, x)


@contextmanager
def on_engine(model: nn.Module, engine: Engine) -> Iterator[None]:
    """Let a model run on another engine for the time of the block.

    Raises:
        UsageError: The model has no engine.
    """
    own = getattr(model, "engine", None)
    if not isinstance(own, Engine):
        raise UsageError(
            f"{type(model).__name__} runs no circuits: only quantum models run on devices"
        )
    setattr(model, "engine", engine)  # noqa: B010 - a module's attributes are typed as tensors
    try:
        yield
    finally:
        setattr(model, "engine", own)  # noqa: B010


class Replayed:
    """An engine that gives back distributions obtained before, call by call."""

    name = "replayed"
    exact = False
    differentiable = False

    def __init__(self, distributions: Sequence[NDArray[np.float64]]) -> None:
        self._left = list(distributions)

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """The next distributions (batch, 2^m)."""
        return torch.from_numpy(self._left.pop(0)).to(angles)


class _Recorder:
    name = "recorder"
    exact = False
    differentiable = False

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        batch = Batch(circuit, angles.detach(), None if state is None else state.detach())
        self.batches.append(batch)
        outcomes = 2 ** len(circuit.measured)
        return torch.full((len(batch), outcomes), 1 / outcomes).to(angles)
