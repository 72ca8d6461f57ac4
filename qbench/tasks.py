"""A task is data; running one is a pure function of it and of the outcomes it needs."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qbench import scoring
from qbench.certifying import SAMPLES, certify
from qbench.crafting import craft
from qbench.datasets.base import Dataset, Split, check_images
from qbench.errors import Unsupported, WeightsError
from qbench.interfaces import Engine
from qbench.protocols import Protocol, Selection, load_protocol
from qbench.records import (
    AccuracyMetrics,
    AttackRef,
    CertifierRef,
    Cost,
    DatasetRef,
    EngineRef,
    FileRef,
    LipschitzMetrics,
    ModelRef,
    ProtocolRef,
    Record,
    TaskKind,
    ThreatModelRef,
    TrainingMetrics,
)
from qbench.registry import PluginFile, Provided, Registry, load_registry
from qbench.specs import AttackSpec, ModelSpec
from qbench.store import Outcome, file_ref, from_npz, to_npz
from qbench.training import train
from qbench.weights import Provenance, load_into, pack, unpack
from qbench.zoo import Zoo

_PACKAGES = ("qbench-robustness", "torch", "numpy", "numba", "cvxpy")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One unit of work.

    Args:
        kind: The stage.
        key: SHA-256 of everything that determines the result.
        needs: Keys of the tasks whose outcomes it reads.
        protocol: Name of the protocol.
        model, seed: The target.
        source: The model that adversarial images were made for; transfer only.
        attack, params, eps: What attacks, and the budget.
        certifier: What certifies; None in a `lipschitz` task that no certifier covers.
        limit: How many of the protocol's images; None for all.
        zoo_sha256: Weights to take from the shipped zoo; None to train.
        plugins: Plugins given as files.
    """

    kind: TaskKind
    key: str
    protocol: str
    model: str
    seed: int
    needs: tuple[str, ...] = ()
    source: str | None = None
    attack: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    eps: float | None = None
    certifier: str | None = None
    limit: int | None = None
    zoo_sha256: str | None = None
    plugins: tuple[PluginFile, ...] = ()

    @property
    def label(self) -> str:
        """What it is, for progress and messages."""
        via = f" on inputs for {self.source}" if self.source else ""
        what = f" under {self.attack}({self.eps:g})" if self.attack and self.eps is not None else ""
        by = f" by {self.certifier}" if self.certifier else ""
        return f"{self.kind} of {self.model} seed {self.seed}{what}{via}{by}"


def run_task(task: Task, inputs: Mapping[str, Outcome]) -> Outcome:
    """Run a task; whatever goes wrong inside it becomes a skipped or failed record.

    Args:
        task: What to do.
        inputs: Outcomes of the tasks it needs, by key.
    """
    bench = _Bench(task)
    started = time.perf_counter()
    missing = [need for need in task.needs if inputs[need].record.status != "done"]
    try:
        if missing:
            record = inputs[missing[0]].record
            what = f"{record.task} of {record.target.model}"
            raise Unsupported(f"needs the {what}, which is {record.status}: {record.reason}")
        result = _STAGES[task.kind](bench, inputs)
    except Unsupported as error:
        result = _Result(status="skipped", reason=str(error))
    except Exception as error:  # a stage runs plugins: nothing they do may take the run down
        result = _Result(status="failed", reason=f"{type(error).__name__}: {error}")
    return bench.outcome(result, time.perf_counter() - started)


@dataclass(frozen=True, kw_only=True)
class _Result:
    status: Any = "done"
    reason: str | None = None
    metrics: TrainingMetrics | AccuracyMetrics | LipschitzMetrics | None = None
    forward: int = 0
    gradient: int = 0
    images: Mapping[str, Any] | None = None
    artifact: tuple[str, bytes] | None = None
    target: nn.Module | None = None
    weights_sha256: str | None = None


class _Bench:
    """What the stages look up for a task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.registry: Registry = load_registry(task.plugins)
        self.protocol: Protocol = load_protocol(task.protocol)
        self.dataset: Dataset = load_data(self.protocol.selection.dataset, task.plugins)
        self.split: Split = select(self.dataset, self.protocol.selection, task.limit)

    def spec(self, model: str | None = None) -> Provided[ModelSpec]:
        return self.registry.get("model", model or self.task.model)

    def model(self, weights: Outcome) -> nn.Module:
        """The trained model of a training task."""
        record = weights.record
        assert record.artifact is not None
        state, _ = unpack(weights.files[record.artifact.file], record.artifact.file)
        model: nn.Module = self.spec(record.target.model).create()
        load_into(model, state.weights, record.artifact.file)
        return model.eval()

    def attack(self) -> Provided[AttackSpec]:
        assert self.task.attack is not None
        attack, model = self.registry.get("attack", self.task.attack), self.spec().spec
        if self.protocol.norm not in attack.spec.norms:
            raise Unsupported(f"{attack.spec.name} cannot be bounded in {self.protocol.norm}")
        if attack.spec.gradient and not model.differentiable:
            raise Unsupported(
                f"{attack.spec.name} needs gradients, which {model.name} does not give"
            )
        return attack

    def outcome(self, result: _Result, seconds: float) -> Outcome:
        task, protocol = self.task, self.protocol
        files: dict[str, bytes] = {}
        images = artifact = None
        if result.images is not None:
            images = _keep(files, f"{task.key}.npz", to_npz(result.images))
        if result.artifact is not None:
            suffix, content = result.artifact
            artifact = _keep(files, f"{task.key}{suffix}", content)
        threat = attack = certifier = engine = None
        if task.eps is not None and task.attack is not None:
            model = protocol.threat_model(task.eps)
            threat = ThreatModelRef(
                norm=model.norm, eps=model.eps, box=model.box, goal="untargeted"
            )
            provided = self.registry.get("attack", task.attack)
            attack = AttackRef(
                name=task.attack,
                plugin=provided.plugin,
                version=provided.version,
                params=dict(task.params),
            )
        if task.certifier is not None:
            source = self.registry.get("certifier", task.certifier)
            certifier = CertifierRef(
                name=task.certifier,
                plugin=source.plugin,
                version=source.version,
                source=source.spec.source,
            )
        if isinstance(runs_on := getattr(result.target, "engine", None), Engine):
            engine = EngineRef(name=runs_on.name, shots=None)
        record = Record(
            task=task.kind,
            key=task.key,
            status=result.status,
            reason=result.reason,
            protocol=ProtocolRef(name=protocol.name, sha256=protocol.sha256),
            dataset=DatasetRef(
                name=self.dataset.name,
                version=self.dataset.version,
                sha256=self.dataset.sha256,
                split=protocol.selection.split,
                n=len(self.split.y),
            ),
            target=self._model_ref(task.model, result.target, result.weights_sha256),
            source=self._model_ref(task.source) if task.source else None,
            attack=attack,
            certifier=certifier,
            threat_model=threat,
            engine=engine,
            metrics=result.metrics,
            cost=Cost(wall_s=round(seconds, 4), forward=result.forward, gradient=result.gradient),
            environment=environment(),
            images=images,
            artifact=artifact,
        )
        return Outcome(record, files)

    def _model_ref(
        self, name: str, model: nn.Module | None = None, weights: str | None = None
    ) -> ModelRef:
        provided = self.spec(name)
        count = None if model is None else sum(p.numel() for p in model.parameters())
        return ModelRef(
            model=name,
            plugin=provided.plugin,
            version=provided.version,
            family=provided.spec.family,
            structure=provided.spec.structure,
            parameters=count,
            seed=self.task.seed,
            weights_sha256=weights,
        )


def _training(bench: _Bench, inputs: Mapping[str, Outcome]) -> _Result:
    task, provided = bench.task, bench.spec()
    provenance = Provenance(
        model=task.model,
        plugin=provided.plugin,
        version=provided.version,
        seed=task.seed,
        dataset=bench.dataset.name,
        dataset_sha256=bench.dataset.sha256,
        recipe=provided.spec.recipe,
    )
    model = provided.create()
    if task.zoo_sha256 is not None:
        content = Zoo().read(task.model, task.seed)
        state, found = unpack(content, f"the zoo's {task.model} seed {task.seed}")
        if (found.dataset_sha256, found.recipe) != (provenance.dataset_sha256, provenance.recipe):
            raise WeightsError(
                f"the zoo's {task.model} comes from another data set or recipe: use --retrain"
            )
        load_into(model, state.weights, task.model)
    else:
        model, state = train(provided.create, bench.dataset, provided.spec.recipe, task.seed)
        content = pack(state, provenance)
    return _Result(
        metrics=TrainingMetrics(
            loss=state.loss, test_accuracy=state.test_accuracy, retrained=task.zoo_sha256 is None
        ),
        artifact=(".safetensors", content),
        target=model,
        weights_sha256=file_ref("weights", content).sha256,
    )


def _robust_accuracy(bench: _Bench, inputs: Mapping[str, Outcome]) -> _Result:
    task, (weights,) = bench.task, inputs.values()
    provided = bench.attack()
    model, attack = bench.model(weights), provided.create(**task.params)
    assert task.eps is not None
    x, y = bench.split.x, bench.split.y
    threat = bench.protocol.threat_model(task.eps)
    # The key names everything that the result depends on, so it may as well seed the attack.
    crafted = craft(attack, model, x, y, threat, seed=int(task.key[:15], 16))
    scored = scoring.score(model, x, crafted.x_adv, y)
    examples = _first_of_each_class(y)
    columns = _columns(bench, scored) | {
        "example_index": examples.astype(np.int32),
        "example_x": x[examples].numpy(),
        "example_x_adv": crafted.x_adv[examples].numpy(),
    }
    return _Result(
        metrics=_accuracies(scored),
        forward=crafted.forward,
        gradient=crafted.gradient,
        images=columns,
        artifact=(".inputs.npz", to_npz({"x_adv": crafted.x_adv.numpy()})),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _transfer_accuracy(bench: _Bench, inputs: Mapping[str, Outcome]) -> _Result:
    weights, attacked = (inputs[key] for key in bench.task.needs)
    model = bench.model(weights)
    assert attacked.record.artifact is not None
    x_adv = from_npz(attacked.files[attacked.record.artifact.file])["x_adv"]
    scored = scoring.score(model, bench.split.x, torch.from_numpy(x_adv), bench.split.y)
    return _Result(
        metrics=_accuracies(scored),
        images=_columns(bench, scored),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _lipschitz(bench: _Bench, inputs: Mapping[str, Outcome]) -> _Result:
    task, (weights,) = bench.task, inputs.values()
    if task.certifier is None:
        raise Unsupported(f"no certifier covers the structure {bench.spec().spec.structure!r}")
    model = bench.model(weights)
    generator = torch.Generator().manual_seed(int(task.key[:15], 16))
    certifier = bench.registry.get("certifier", task.certifier).create()
    certificate, sampled = certify(certifier, model, bench.split.x, generator)
    return _Result(
        metrics=LipschitzMetrics(
            bound=certificate.lipschitz,
            sampled_jacobian=sampled,
            points=len(bench.split.x) + SAMPLES,
            scope=certificate.scope,
            detail=certificate.detail,
        ),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


_STAGES: Mapping[TaskKind, Callable[[_Bench, Mapping[str, Outcome]], _Result]] = {
    "training": _training,
    "robust-accuracy": _robust_accuracy,
    "transfer-accuracy": _transfer_accuracy,
    "lipschitz": _lipschitz,
}


@lru_cache(maxsize=4)
def load_data(name: str, plugins: tuple[PluginFile, ...] = ()) -> Dataset:
    """A data set by name, checked."""
    dataset: Dataset = load_registry(plugins).get("dataset", name).create()
    features = dataset.image_shape[0] * dataset.image_shape[1]
    for split in (dataset.train, dataset.test):
        check_images(split.x, split.y, features, len(dataset.classes))
    return dataset


def select(dataset: Dataset, selection: Selection, limit: int | None) -> Split:
    """The images that a protocol attacks, at most `limit` of them."""
    split: Split = getattr(dataset, selection.split)
    order = np.arange(len(split.y))
    if selection.permutation_seed is not None:
        order = np.random.default_rng(selection.permutation_seed).permutation(len(order))
    order = order[: selection.n][:limit]
    return Split(split.x[order], split.y[order])


@lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Versions of the packages that matter to a result."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _accuracies(scored: scoring.Scored) -> AccuracyMetrics:
    return AccuracyMetrics(
        clean_accuracy=scored.clean_accuracy,
        adversarial_accuracy=scored.adversarial_accuracy,
        robust_accuracy=scored.robust_accuracy,
        wilson95=scored.wilson95,
    )


def _columns(bench: _Bench, scored: scoring.Scored) -> dict[str, Any]:
    return {"index": np.arange(len(bench.split.y), dtype=np.int32), **vars(scored)}


def _first_of_each_class(y: Tensor) -> np.ndarray[Any, Any]:
    return np.sort(np.unique(y.numpy(), return_index=True)[1])


def _keep(files: dict[str, bytes], name: str, content: bytes) -> FileRef:
    files[name] = content
    return file_ref(name, content)
