"""What a record says that no record of a run can say; no model is asked for it."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.datasets.base import Dataset
from qbench.evaluation import checks, lipschitz
from qbench.evaluation.provenance import by_itself
from qbench.protocols import Protocol
from qbench.records.columns import Columns
from qbench.records.record import ChecksMetrics, LipschitzMetrics, RadiiMetrics, Record
from qbench.registry import Registry
from qbench.specs import ModelSpec


def impossible(
    record: Record,
    columns: Columns,
    protocol: Protocol,
    dataset: Dataset,
    registry: Registry,
    model: ModelSpec | None,
) -> Iterator[str]:
    """What contradicts the protocol, the data or the specs: a line each.

    Args:
        record: Of any kind.
        columns: Its outcomes; empty where it has none.
        protocol: In the norm of the record.
        dataset: That the record is about.
        registry: Of attacks and certifiers.
        model: The model's spec; None where its plugin is not loaded.
    """
    task, metrics, classes = record.task, record.metrics, len(dataset.classes)
    for name in ("prediction", "clean_prediction", "adversarial_prediction"):
        if name in columns and not ((columns[name] >= 0) & (columns[name] < classes)).all():
            yield f"{name.replace('_', ' ')} is none of the {classes} classes"
    engine = getattr(task, "engine", None)
    own = engine is None if model is None else by_itself(engine, model)
    if record.device is not None and own:
        yield "its scores are said not to be exact, and it ran on the model's own engine"
    if record.exact and engine is not None and engine.shots is not None and record.metrics:
        yield f"scores of {engine.shots} shots are said to be exact"
    if task.kind == "attack" and record.exact:
        yield from _attack(record, protocol, registry, model)
    if task.kind == "fresh":
        yield from _fresh(record, protocol, registry)
    if isinstance(metrics, ChecksMetrics):
        few = min(checks.IMAGES, task.data.images)
        if metrics.images != few:
            yield f"{metrics.images} images were checked, not {few}"
        if abs(metrics.chance - 1 / classes) > 1e-9:
            yield f"chance is {metrics.chance:g}, there are {classes} classes"
        gradients = metrics.values.get("no_gradient", 1.0) < 1
        probed = protocol.first_attack in registry.all("attack")
        if record.exact and gradients and probed and "large_eps" not in metrics.values:
            yield "there is no check large_eps"
    if isinstance(metrics, LipschitzMetrics) and metrics.points < lipschitz.SAMPLES:
        yield f"its bound was challenged at {metrics.points} points: {lipschitz.SAMPLES} are due"
    if task.kind in ("lipschitz", "radii") and task.certifier is not None:
        spec = registry.get("certifier", task.certifier.name).spec
        if task.certifier.revision != spec.revision:
            yield (
                f"revision {task.certifier.revision} of {task.certifier.name}, installed is another"
            )
        proof = not spec.smoothed and not spec.counted
        if isinstance(metrics, RadiiMetrics) and proof and metrics.confidence != 1:
            yield f"confidence {metrics.confidence:g} of what is a proof"
        if isinstance(metrics, RadiiMetrics) and spec.counted and metrics.confidence == 1:
            yield f"{task.certifier.name} proves nothing for certain from counts"
        if record.status == "done" and spec.counted == record.exact:
            yield f"{task.certifier.name} certifies other scores than these"


def _attack(
    record: Record, protocol: Protocol, registry: Registry, model: ModelSpec | None
) -> Iterator[str]:
    assert record.task.kind == "attack"
    name = record.task.attack.name
    spec = registry.get("attack", name).spec
    if record.status == "done" and spec.gradient and not record.cost.gradient:
        yield f"{name} follows gradients, and none was asked for"
    can = model is None or model.differentiable or not spec.gradient
    due = name == protocol.first_attack and protocol.norm in spec.norms
    if record.status == "skipped" and due and can and model is not None:
        yield f"{name} was skipped, and nothing in the specs keeps it from being done"


def _fresh(record: Record, protocol: Protocol, registry: Registry) -> Iterator[str]:
    """New images are attacked by the protocol's first attack, at the ranking budget."""
    task, name = record.task, protocol.first_attack
    if task.kind != "fresh" or name is None or name not in registry.all("attack"):
        return
    provided = registry.get("attack", name)
    params = provided.resolved(protocol.attack_params(name, protocol.ranking_eps))
    said = (task.attack.name, task.attack.revision, dict(task.attack.params), task.norm, task.eps)
    if said != (name, provided.spec.revision, params, protocol.norm, protocol.ranking_eps):
        yield f"new images were attacked by another {task.attack.name} than the protocol's"
