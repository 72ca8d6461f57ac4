"""Between a model and a device: what circuits an image takes, and what scores their counts give.

A model hands angles to its engine and turns probabilities into scores. Here it hands them to an
engine that only writes them down, and later gets from another one what the device counted, so a
model's preprocessing and its reading of the outcomes stay its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.engines.modules import engine_of, on_engine
from qbench.engines.recording import Batch, Recorder
from qbench.errors import UsageError
from qbench.evaluation.crafting import frozen
from qbench.evaluation.scoring import predict


def circuits_of(model: nn.Module, x: Tensor) -> Batch:
    """The circuits that a model runs for images x (n, features).

    Raises:
        UsageError: It runs none, or not one for each image.
    """
    if engine_of(model) is None:
        raise UsageError(
            f"{type(model).__name__} runs no circuits on an engine of qbench: make its circuit "
            "with qbench_circuits (docs/circuits.md), and devices run it"
        )
    recorder = Recorder()
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


class Replayed:
    """An engine that gives back distributions obtained before, call by call.

    Args:
        distributions: (n, 2^m) each.
        shots: From which they were counted; None where they are no relative frequencies.
    """

    name = "replayed"
    exact = False
    differentiable = False

    def __init__(
        self, distributions: Sequence[NDArray[np.float64]], shots: int | None = None
    ) -> None:
        self._left, self.shots = list(distributions), shots

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """The next distributions (batch, 2^m)."""
        return torch.from_numpy(self._left.pop(0)).to(angles)
