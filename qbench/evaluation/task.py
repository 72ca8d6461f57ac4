"""What all kinds of measurement have in common: a task is data, and running it gives a result."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.engines.modules import engine_of
from qbench.errors import QbenchError, Unsupported
from qbench.evaluation import scoring
from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.placing import put_on
from qbench.evaluation.provenance import by_itself, environment_of, on_own_engine
from qbench.evaluation.scoring import Scored
from qbench.model_names import ModelName
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.provided import Provided
from qbench.records import identity
from qbench.records.columns import Columns, conform, fingerprint
from qbench.records.record import (
    Card,
    Cost,
    Device,
    Failure,
    Metrics,
    Record,
    Status,
    title,
)
from qbench.records.results import Result
from qbench.records.schema import LONGEST
from qbench.records.store import environment_name
from qbench.registry import Registry, load_registry
from qbench.specs import ModelSpec, Norm, ThreatModel
from qbench.text import one_line
from qbench.weights.files import load_into, unpack

TIME_LIMIT_S = 600.0
# A stochastic model is attacked through the mean of 8 fresh passes and scored by the mean of 10.
STOCHASTIC = (8, 10)
VARYING = 20  # images that are asked twice to find out whether scores vary
FRAMES = 5  # of a failure's traceback that are kept

# Scores of clean images that this process was told, by weights, model and images.
_CLEAN: dict[tuple[str, str, str], Tensor] = {}
_MOST_CLEAN = 100

Inputs = Mapping[str, Result]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What running a task gave.

    Args:
        metrics: What came out.
        columns: One value an image, by column.
        artifact: What later tasks read.
        weights: Fingerprint of the target's weights.
        device: Where scores are not exact.
        forward, gradient: Images passed through the model, and differentiated.
        card: Facts about the target, of its training.
    """

    metrics: Metrics
    weights: str
    columns: Columns | None = None
    artifact: bytes | None = None
    device: Device | None = None
    forward: int = 0
    gradient: int = 0
    card: Card | None = None


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One unit of work; its `identity` names the result.

    Args:
        identity: What is measured.
        needs: Identities of the tasks whose results it reads: the training of its target first.
        label: The attack as it is shown.
        limit: How many of the protocol's images; None for all.
        time_limit_s: Seconds that the task may take.
        plugins: Plugins given as files.
    """

    identity: Any
    needs: tuple[str, ...] = ()
    label: str | None = None
    limit: int | None = None
    time_limit_s: float = TIME_LIMIT_S
    plugins: tuple[PluginFile, ...] = ()
    leaves_artifact: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """What it is, for progress and messages."""
        return title(self.identity, self.label)

    @abstractmethod
    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Measure.

        Raises:
            Unsupported: It cannot be done, which is no failure.
        """

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """Estimate of the images passed through the model, and of those differentiated."""
        return 0, 0


@dataclass(frozen=True)
class TaskContext:
    """What tasks look up: plugins, protocol, images, models. Images are copies."""

    task: Task

    @cached_property
    def registry(self) -> Registry:
        """Every plugin, with those given as files."""
        return load_registry(self.task.plugins)

    @cached_property
    def protocol(self) -> Protocol:
        """The task's protocol, under the norm of the task."""
        protocol = load_protocol(self.task.identity.protocol.name, self.task.plugins)
        return protocol.in_norm(getattr(self.task.identity, "norm", protocol.norm))

    @cached_property
    def dataset(self) -> Dataset:
        """The task's data set; shared, and so never to be handed to a plugin."""
        return load_data(self.task.identity.data.name, self.task.plugins)

    @cached_property
    def split(self) -> Split:
        """The images that are attacked or certified, and their labels."""
        return self.protocol.selection.images(self.dataset, self.task.limit)

    def threat_model(self, eps: float) -> ThreatModel:
        """The protocol's threat model at one budget, for inputs of the data set's shape."""
        return replace(self.protocol.threat_model(eps), input_shape=self.dataset.input_shape)

    @cached_property
    def provided(self) -> Provided[ModelSpec]:
        """The target's spec, made for the data set, and who provides it."""
        return self._model(self.task.identity.model.name)

    def _model(self, name: str) -> Provided[ModelSpec]:
        return fitted(self.registry.get("model", name), self.dataset)

    def trained(self, inputs: Inputs) -> Result:
        """The result of the target's training.

        Raises:
            Unsupported: It has none.
        """
        return done(inputs[self.task.needs[0]])

    def ideal(self, trained: Result) -> nn.Module:
        """The trained model on its own engine, which simulates its circuits exactly."""
        assert trained.artifact is not None
        name = trained.record.task.model.name
        state, _ = unpack(trained.artifact, f"weights of {name}")
        model: nn.Module = self._model(name).create()
        load_into(model, state.weights, name)
        return model.eval()

    def model(self, trained: Result) -> nn.Module:
        """The trained model on the task's engine.

        Raises:
            Unsupported: The model runs no circuit that an engine could take over.
        """
        model = self.ideal(trained)
        engine: identity.Engine | None = getattr(self.task.identity, "engine", None)
        if engine is None:
            return model
        named = None if on_own_engine(engine, self.provided.spec) else engine.name
        name = ModelName(self.task.identity.model.name, named, engine.shots)
        return put_on(model, name, self.task.identity.random_seed % 2**31, self.registry)

    def saved(self, trained: Result) -> SavedModel:
        """The trained model as it is asked for final predictions, on its own engine."""
        assert trained.artifact is not None
        return SavedModel.of(self.provided, trained.artifact, self.task.plugins)

    def passes_and_repeats(self, model: nn.Module) -> tuple[int, int]:
        """How many passes an attack averages, and how often the target is scored.

        Several where scores vary: by shots, as the spec says, or as two passes show.
        """
        engine = getattr(self.task.identity, "engine", None)
        sampled = engine is not None and engine.shots is not None
        declared = sampled or self.provided.spec.stochastic
        # What an engine without shots gives is the same every time, and may take long.
        varying = declared or (self.alone and varies(model, self.split.x))
        passes, repeats = STOCHASTIC if varying else (1, 1)
        return (1 if engine is not None and engine.attacked == "ideal" else passes), repeats

    def score(self, trained: Result, model: nn.Module, x_adv: Tensor, repeats: int) -> Scored:
        """Outcomes of the task's images, clean, and as x_adv (n, features).

        Exact models are asked in a process of their own (`outside`), one image at a time, the
        clean images of another instance; what runs on another engine is asked here.
        """
        x, y = self.split.x, self.split.y
        if not self.alone:
            return scoring.score(model, x, x_adv, y, repeats)
        saved, seed = self.saved(trained), self.task.identity.random_seed
        adversarial = saved.predictions(x_adv, seed=seed, repeats=repeats)
        if repeats > 1:  # fresh passes, in every task
            clean = saved.predictions(x, seed=seed, repeats=repeats)
            return scoring.outcomes(clean, adversarial, x, x_adv, y)
        key = (trained.record.weights or "", saved.spec.name, fingerprint({"x": x.numpy()}))
        if key not in _CLEAN:
            if len(_CLEAN) >= _MOST_CLEAN:
                _CLEAN.clear()
            _CLEAN[key] = saved.predictions(x, seed=seed)
        return scoring.outcomes(_CLEAN[key], adversarial, x, x_adv, y)

    @property
    def alone(self) -> bool:
        """Whether the model needs nothing but itself: its own engine, without shots."""
        return by_itself(getattr(self.task.identity, "engine", None), self.provided.spec)


def uncovered(context: TaskContext, norm: Norm | None) -> Unsupported:
    """Why nothing of a kind is proved of a model: no certifier is made for its structure.

    Args:
        context: Of the task.
        norm: Of certified radii; None for Lipschitz bounds.
    """
    every = [one.spec for one in context.registry.all("certifier").values()]
    known = sorted({structure for one in every if one.proves(norm) for structure in one.structures})
    what = "bounds how fast scores change" if norm is None else f"certifies radii in {norm}"
    asked = context.provided.spec.structure
    return Unsupported(
        f"no certifier that {what} covers the structure {asked!r}, only {', '.join(known)}"
    )


def varies(model: nn.Module, x: Tensor) -> bool:
    """Whether two passes over the same images (n, features) give different scores."""
    few = x[:VARYING]
    return not torch.equal(scoring.predict(model, few), scoring.predict(model, few))


def device_of(model: nn.Module) -> Device | None:
    """Where a model's circuits run, None where its scores are exactly the circuit's."""
    engine = engine_of(model)
    if engine is None:
        return None
    # Shots are drawn from what an engine gives without them: noise, or the exact circuit.
    inner = getattr(engine, "engine", engine)
    if engine.exact and getattr(engine, "shots", None) is None:
        return None
    return Device(name=None if inner.exact else getattr(inner, "device", inner.name))


def done(result: Result) -> Result:
    """A result that can be built upon.

    Raises:
        Unsupported: It is not done.
    """
    record = result.record
    if record.status != "done":
        what = "its training" if record.task.kind == "training" else f"the {record.title}"
        how = "failed" if record.status == "failed" else "was skipped"
        raise Unsupported(f"{what} {how}")
    return result


def run_task(task: Task, inputs: Inputs) -> Result:
    """Run a task; whatever goes wrong inside it becomes a skipped or failed record.

    Args:
        task: What to do.
        inputs: Results of the tasks it needs, by identity.
    """
    context = TaskContext(task)
    started = time.perf_counter()
    status: Status
    try:
        with isolated(task.identity.random_seed), time_limit(task.time_limit_s):
            found = task.run(context, inputs)
        return _done(context, found, time.perf_counter() - started)
    except Unsupported as error:
        status, reason, failure = "skipped", str(error), None
    except (Exception, SystemExit) as error:  # tasks run plugins: they may not take the run down
        ours = isinstance(error, QbenchError)
        reason = str(error) if ours else f"{type(error).__name__}: {error}"
        status, failure = "failed", _failure(error)
    return not_done(task, status, reason, failure, time.perf_counter() - started)


def _done(context: TaskContext, found: Found, seconds: float) -> Result:
    task = context.task
    columns = None
    if found.columns is not None:
        columns = conform(found.columns, task.identity.kind, task.identity.data.images)
    environment = environment_of(task.identity, load_registry(task.plugins))
    record = Record(
        task=task.identity,
        status="done",
        label=task.label,
        weights=found.weights,
        device=found.device,
        metrics=found.metrics,
        cost=Cost(wall_s=round(seconds, 4), forward=found.forward, gradient=found.gradient),
        environment=environment_name(environment),
        outcomes=None if columns is None else fingerprint(columns),
    )
    return Result(record, columns, found.artifact, found.card, environment)


def not_done(
    task: Task, status: Status, reason: str, failure: Failure | None = None, seconds: float = 0.0
) -> Result:
    """The result of a task that was skipped or failed."""
    environment = environment_of(task.identity, load_registry(task.plugins))
    record = Record(
        task=task.identity,
        status=status,
        reason=one_line(reason, LONGEST) or "no reason given",
        failure=failure,
        label=task.label,
        cost=Cost(wall_s=round(seconds, 4)),
        environment=environment_name(environment),
    )
    return Result(record, environment=environment)


def _failure(error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    lines = [f"{one_line(f.filename, 200)}:{f.lineno} in {f.name}: {f.line}" for f in frames]
    return Failure(type=type(error).__name__, frames=[one_line(line) for line in lines])
