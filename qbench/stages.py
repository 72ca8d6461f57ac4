"""What a task of each kind does: one function a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench import scoring
from qbench.certifying import certify, certify_images
from qbench.crafting import craft, time_limit
from qbench.datasets.base import Dataset, Split
from qbench.diagnosing import Evidence, diagnose
from qbench.engines import DEFAULT, create_engine
from qbench.errors import Unsupported, WeightsError
from qbench.interfaces import Attack, Engine
from qbench.protocols import Protocol, load_protocol
from qbench.records import (
    AccuracyMetrics,
    CertificationMetrics,
    DiagnosisMetrics,
    Flag,
    LipschitzMetrics,
    TaskKind,
    TrainingMetrics,
)
from qbench.registry import Provided, Registry, load_registry
from qbench.specs import AttackSpec, CertifierSpec, ModelSpec, Perturbations
from qbench.store import Outcome, file_ref, from_npz, to_npz
from qbench.tasks import Task, load_data, select
from qbench.training import train
from qbench.weights import Provenance, load_into, pack, unpack
from qbench.zoo import Zoo

# A stochastic model is attacked through the mean of 8 fresh passes and scored by the mean of 10.
STOCHASTIC = (8, 10)

Inputs = Mapping[str, Outcome]
Metrics = (
    TrainingMetrics | AccuracyMetrics | LipschitzMetrics | CertificationMetrics | DiagnosisMetrics
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a stage found.

    Args:
        status, reason, metrics, flags: As in a record.
        forward, gradient: Images passed through the model, and differentiated.
        images: Per-image outcomes by column.
        artifact: Suffix and content of the file that later tasks read.
        target: The model, and the hash of its weights.
    """

    status: Literal["done", "skipped", "failed"] = "done"
    reason: str | None = None
    metrics: Metrics | None = None
    flags: tuple[Flag, ...] = ()
    forward: int = 0
    gradient: int = 0
    images: Mapping[str, Any] | None = None
    artifact: tuple[str, bytes] | None = None
    target: nn.Module | None = None
    weights_sha256: str | None = None


class Workplace:
    """What the stages look up for a task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.registry: Registry = load_registry(task.plugins)
        self.protocol: Protocol = load_protocol(task.protocol)
        name = task.dataset or self.protocol.selection.dataset
        self.dataset: Dataset = load_data(name, task.plugins)
        self.split: Split = select(self.dataset, self.protocol.selection, task.limit)

    def spec(self, model: str | None = None) -> Provided[ModelSpec]:
        """A model's spec; the target's by default."""
        return self.registry.get("model", model or self.task.model)

    def model(self, weights: Outcome) -> nn.Module:
        """The trained model of a training task, on the task's engine.

        Raises:
            Unsupported: The model runs no circuit that an engine could take over.
        """
        model = self.twin(weights)
        if self.task.engine is None and self.task.shots is None:
            return model
        if not isinstance(getattr(model, "engine", None), Engine):
            raise Unsupported(f"{self.task.model} has no circuit that another engine could run")
        seed, name = self.seed % 2**31, self.task.engine or DEFAULT
        setattr(model, "engine", create_engine(name, self.task.shots, seed, self.registry))  # noqa: B010
        return model

    def twin(self, weights: Outcome) -> nn.Module:
        """The trained model of a training task, simulated exactly."""
        record = weights.record
        assert record.artifact is not None
        state, _ = unpack(weights.files[record.artifact.file], record.artifact.file)
        model: nn.Module = self.spec(record.target.model).create()
        load_into(model, state.weights, record.artifact.file)
        return model.eval()

    def attack(self, name: str, params: Mapping[str, Any], seen: nn.Module) -> Attack:
        """An attack that can be run on the model it sees, under the protocol.

        Raises:
            Unsupported: It cannot.
        """
        provided: Provided[AttackSpec] = self.registry.get("attack", name)
        spec, model = provided.spec, self.spec().spec
        if self.protocol.norm not in spec.norms:
            raise Unsupported(f"{name} cannot be bounded in {self.protocol.norm}")
        if spec.gradient and not model.differentiable:
            raise Unsupported(f"{name} needs gradients, which {model.name} does not give")
        engine = getattr(seen, "engine", None)
        if spec.gradient and isinstance(engine, Engine) and not engine.differentiable:
            raise Unsupported(
                f"{name} needs gradients, which engine {engine.name} does not give: attack the "
                "exact twin instead (--craft-on twin)"
            )
        attack: Attack = provided.create(**params)
        return attack

    @property
    def perturbations(self) -> Perturbations | None:
        """What a certification speaks about."""
        if self.task.norm is None:
            return None
        return Perturbations(norm=self.task.norm, eps=self.task.budgets, box=self.protocol.box)

    @property
    def stochastic(self) -> bool:
        """Whether two passes of the target over one image may differ."""
        return self.spec().spec.stochastic or self.task.shots is not None

    @property
    def passes_and_repeats(self) -> tuple[int, int]:
        """How many passes an attack averages, and how often the target is scored."""
        passes, repeats = STOCHASTIC if self.stochastic else (1, 1)
        return (1 if self.task.twin else passes), repeats

    @property
    def seed(self) -> int:
        """Of the task's randomness: its key names everything that the result depends on."""
        return int(self.task.key[:15], 16)


def _training(place: Workplace, inputs: Inputs) -> Result:
    task, provided = place.task, place.spec()
    provenance = Provenance(
        model=task.model,
        plugin=provided.plugin,
        version=provided.version,
        seed=task.seed,
        dataset=place.dataset.name,
        dataset_sha256=place.dataset.sha256,
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
        model, state = train(provided.create, place.dataset, provided.spec.recipe, task.seed)
        content = pack(state, provenance)
    return Result(
        metrics=TrainingMetrics(
            loss=state.loss,
            test_accuracy=state.test_accuracy,
            retrained=task.zoo_sha256 is None,
        ),
        artifact=(".safetensors", content),
        target=model,
        weights_sha256=file_ref("weights", content).sha256,
    )


def _robust_accuracy(place: Workplace, inputs: Inputs) -> Result:
    task, (weights,) = place.task, inputs.values()
    assert task.eps is not None
    assert task.attack is not None
    model = place.model(weights)
    seen = place.twin(weights) if task.twin else model
    attack = place.attack(task.attack, task.params, seen)
    x, y = place.split.x, place.split.y
    threat = place.protocol.threat_model(task.eps)
    passes, repeats = place.passes_and_repeats
    crafted = craft(
        attack, seen, x, y, threat, place.seed, passes=passes, time_limit_s=task.time_limit_s
    )
    scored = scoring.score(model, x, crafted.x_adv, y, repeats)
    examples = _first_of_each_class(y)
    columns = _columns(scored) | {
        "example_index": examples.astype(np.int32),
        "example_x": x[examples].numpy(),
        "example_x_adv": crafted.x_adv[examples].numpy(),
    }
    return Result(
        metrics=_accuracies(scored),
        forward=crafted.forward,
        gradient=crafted.gradient,
        images=columns,
        artifact=(".inputs.npz", to_npz({"x_adv": crafted.x_adv.numpy()})),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _transfer_accuracy(place: Workplace, inputs: Inputs) -> Result:
    weights, attacked = (inputs[key] for key in place.task.needs)
    model = place.model(weights)
    assert attacked.record.artifact is not None
    x_adv = from_npz(attacked.files[attacked.record.artifact.file])["x_adv"]
    _, repeats = place.passes_and_repeats
    scored = scoring.score(model, place.split.x, torch.from_numpy(x_adv), place.split.y, repeats)
    return Result(
        metrics=_accuracies(scored),
        images=_columns(scored),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _lipschitz(place: Workplace, inputs: Inputs) -> Result:
    task, (weights,) = place.task, inputs.values()
    if task.certifier is None:
        raise Unsupported(f"no certifier covers the structure {place.spec().spec.structure!r}")
    model = place.model(weights)
    generator = torch.Generator().manual_seed(place.seed)
    certifier = place.registry.get("certifier", task.certifier).create()
    with time_limit(task.time_limit_s, "certifier"):
        bound, sampled, points = certify(certifier, model, place.split.x, generator)
    return Result(
        metrics=LipschitzMetrics(
            bound=bound.lipschitz,
            sampled_jacobian=sampled,
            points=points,
            scope=bound.scope,
            least_norm=bound.least_norm,
            detail=bound.detail,
        ),
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _certification(place: Workplace, inputs: Inputs) -> Result:
    task, (weights,) = place.task, inputs.values()
    if task.certifier is None:
        raise Unsupported(f"no certifier covers the structure {place.spec().spec.structure!r}")
    provided: Provided[CertifierSpec] = place.registry.get("certifier", task.certifier)
    perturbations, smoothed = place.perturbations, provided.spec.smoothed
    assert perturbations is not None
    if perturbations.norm not in provided.spec.norms:
        raise Unsupported(f"{task.certifier} certifies nothing in {perturbations.norm}")
    model, y = place.model(weights), place.split.y
    if place.stochastic:
        raise Unsupported(f"{task.model} gives random scores: no certificate holds for them")
    generator = torch.Generator().manual_seed(place.seed)
    with time_limit(task.time_limit_s, "certifier"):
        radii, prediction = certify_images(
            provided.create(), model, place.split.x, y, perturbations, generator, smoothed
        )
    certified = [float((radii.radius >= eps).double().mean()) for eps in perturbations.eps]
    return Result(
        metrics=CertificationMetrics(
            clean_accuracy=float((prediction == y).double().mean()),
            certified_accuracy=certified,
            confidence=radii.confidence,
            smoothed=smoothed,
            detail=radii.detail,
        ),
        images={
            "index": np.arange(len(y), dtype=np.int32),
            "label": y.numpy().astype(np.int8),
            "prediction": prediction.numpy().astype(np.int8),
            "radius": radii.radius.numpy(),
        },
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _diagnosis(place: Workplace, inputs: Inputs) -> Result:
    task = place.task
    weights, *rest = (inputs[key] for key in task.needs)
    model = place.model(weights)
    evidence = [_evidence(place, outcome) for outcome in rest if outcome.record.images is not None]
    probed = None
    engine = getattr(model, "engine", None)
    gradients = place.spec().spec.differentiable and getattr(engine, "differentiable", True)
    if task.attack is not None and gradients and not task.twin:
        probed = lambda **new: place.attack(task.attack, {**task.params, **new}, model)  # noqa: E731
    found = diagnose(
        model,
        place.split,
        evidence,
        place.protocol.threat_model(place.protocol.ranking_eps),
        probed,
        task.label,
        task.params,
        place.seed,
        time_limit_s=task.time_limit_s,
    )
    return Result(
        metrics=found.metrics,
        flags=found.flags,
        forward=found.forward,
        gradient=found.gradient,
        target=model,
        weights_sha256=weights.record.target.weights_sha256,
    )


def _evidence(place: Workplace, outcome: Outcome) -> Evidence:
    record = outcome.record
    assert record.images is not None
    assert record.attack is not None
    assert record.threat_model is not None
    columns = from_npz(outcome.files[record.images.file])
    label = columns["label"]
    return Evidence(
        attack=record.attack.label,
        eps=record.threat_model.eps,
        gradient=place.registry.get("attack", record.attack.name).spec.gradient,
        source=None if record.source is None else record.source.model,
        robust=(columns["clean_prediction"] == label)
        & (columns["adversarial_prediction"] == label),
    )


STAGES: Mapping[TaskKind, Callable[[Workplace, Inputs], Result]] = {
    "training": _training,
    "robust-accuracy": _robust_accuracy,
    "transfer-accuracy": _transfer_accuracy,
    "lipschitz": _lipschitz,
    "certification": _certification,
    "diagnosis": _diagnosis,
}


def _accuracies(scored: scoring.Scored) -> AccuracyMetrics:
    return AccuracyMetrics(
        clean_accuracy=scored.clean_accuracy,
        adversarial_accuracy=scored.adversarial_accuracy,
        robust_accuracy=scored.robust_accuracy,
        wilson95=scored.wilson95,
    )


def _columns(scored: scoring.Scored) -> dict[str, NDArray[Any]]:
    return {"index": np.arange(len(scored.label), dtype=np.int32), **vars(scored)}


def _first_of_each_class(y: Tensor) -> NDArray[np.intp]:
    return np.sort(np.unique(y.numpy(), return_index=True)[1])
