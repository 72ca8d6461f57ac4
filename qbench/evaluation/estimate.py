"""How long tasks will take: models are timed for a moment before anything runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.provenance import by_itself
from qbench.evaluation.task import Task, TaskContext
from qbench.evaluation.training import TrainingTask

_MOMENT_S = 0.05  # how long a pass is repeated, at least
_LONGEST_S = 60.0  # that one model is timed, with what its first pass compiles
# Seconds of a task whatever its images: their last scores are asked of another process.
_STARTS_S = {"attack": 0.3, "lipschitz": 0.1, "transfer": 0.05, "checks": 0.2, "fresh": 0.3}
# Seconds that a certifier takes for one image, at most, as measured of 256 pixels.
_PROOF_S = {"quantum": 0.03, "classical": 0.01}


@dataclass(frozen=True)
class Speed:
    """Seconds for one image.

    Args:
        forward: To score it.
        gradient: To score and differentiate it.
    """

    forward: float
    gradient: float


class Estimator:
    """Estimates the seconds of tasks on one core of this machine, as busy as it is now.

    Circuits on another engine than their own, or with shots, are not timed.

    Each model is asked about as many images as a step of its training has, and about as many as
    are attacked at once, untrained. What a certifier takes depends on the trained model: those are
    rough.
    """

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, int], Speed | None] = {}

    def seconds(self, task: Task) -> float | None:
        """How long a task takes; None where its model could not be timed."""
        context, kind = TaskContext(task), task.identity.kind
        forward, gradient = task.passes(context)
        spec = context.provided.spec
        engine = getattr(task.identity, "engine", None)
        if not by_itself(engine, spec):
            return None  # what another engine takes is known when it has run
        if kind == "radii":
            images: int = task.identity.data.images
            return 1.0 + images * _PROOF_S[spec.family]
        if not forward:
            return 0.02
        together = task.identity.data.images
        if isinstance(task, TrainingTask):
            together = spec.recipe.batch_size
        speed = self._speed(context, together)
        if speed is None:
            return None
        passes = (forward - gradient) * speed.forward + gradient * speed.gradient
        return _STARTS_S.get(kind, 0.0) + max(passes, 0.0)

    def _speed(self, context: TaskContext, together: int) -> Speed | None:
        key = context.provided.spec.name, together
        if key not in self._speeds:
            try:
                with isolated(0), time_limit(_LONGEST_S):
                    model: nn.Module = context.provided.create()
                    x = context.dataset.train.x
                    self._speeds[key] = _timed(model.eval(), x[:together].clone())
            except (Exception, SystemExit):  # what is wrong with it, its training says
                self._speeds[key] = None
        return self._speeds[key]


def _timed(model: nn.Module, x: Tensor) -> Speed:
    def score() -> None:
        with torch.no_grad():
            model(x)

    def differentiate() -> None:
        given = x.clone().requires_grad_()
        scores = model(given)
        if scores.requires_grad:
            torch.autograd.grad(scores.sum(), [given, *_trainable(model)], allow_unused=True)

    forward, gradient = _mean(score), _mean(differentiate)
    return Speed(forward / len(x), gradient / len(x))


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _mean(call: Callable[[], None]) -> float:
    call()  # the first one may compile
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < _MOMENT_S:
        call()
        count += 1
    return passed / count
