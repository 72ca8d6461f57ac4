"""Which records answer which question, and whether they may stand side by side at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qbench.errors import StoreError
from qbench.records.identity import Kind
from qbench.records.record import (
    WITH_OUTCOMES,
    AccuracyMetrics,
    LipschitzMetrics,
    RadiiMetrics,
    Record,
    TrainingMetrics,
)
from qbench.report.seed_values import SeedValues, gather_notes

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
M = TypeVar("M")


@dataclass(frozen=True)
class Question:
    """What a record answers whatever its seed; None where the kind of task has no such part."""

    kind: Kind
    model: str
    source: str | None = None
    attack: str | None = None
    eps: float | None = None
    certifier: str | None = None
    norm: str | None = None
    budgets: tuple[float, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Question:
        """The question that a record answers."""
        task, model = record.task, record.task.model.name
        if task.kind == "attack":
            return cls(task.kind, model, attack=record.label, eps=task.eps)
        if task.kind == "transfer":
            source = task.source.name
            return cls(task.kind, model, source=source, attack=record.label, eps=task.eps)
        if task.kind == "lipschitz":
            return cls(task.kind, model, certifier=certifier_of(record))
        if task.kind == "radii":
            name = certifier_of(record)
            return cls(task.kind, model, certifier=name, norm=task.norm, budgets=tuple(task.eps))
        if task.kind == "challenge":  # each is by itself: what one sender sent, no other has to
            return cls(task.kind, model, attack=record.id, eps=task.eps)
        return cls(task.kind, model)


Answers = Mapping[Question, Mapping[int, Record]]


def check_together(records: Sequence[Record]) -> None:
    """Refuse records whose numbers must not be compared.

    Raises:
        StoreError: There is none; or they mix protocols, images, norms of attacks, or weights of
            one model and seed.
    """
    if not records:
        raise StoreError("no records to report: run 'qbench run' first")
    attacked = [r for r in records if r.task.kind in ("attack", "transfer", "challenge")]
    imaged = [r.task.data for r in records if r.task.kind in WITH_OUTCOMES]
    protocols = [record.task.protocol for record in records]
    _same("protocol", (f"{p.name} {p.sha256[:12]}" for p in protocols))
    _same("data set", (f"{d.name} {d.split} {d.sha256[:12]}" for d in imaged))
    _same("number of images", (f"{data.images}" for data in imaged))
    _same("norm of attacks", (f"{getattr(r.task, 'norm', '')}" for r in attacked))
    with_weights = [record for record in records if record.weights is not None]
    models = grouped(with_weights, lambda record: (record.task.model.name, record.task.model.seed))
    for (name, seed), group in models:
        _same(f"set of weights of {name} seed {seed}", (f"{r.weights}"[:12] for r in group))


def answers(records: Iterable[Record]) -> Answers:
    """Records by question and seed of the model.

    Raises:
        StoreError: Two records answer one question for one seed.
    """
    found: dict[Question, dict[int, Record]] = {}
    for record in sorted(records, key=lambda r: r.id):
        by_seed = found.setdefault(Question.of(record), {})
        other = by_seed.setdefault(record.task.model.seed, record)
        if other is not record:
            raise StoreError(
                f"two results for the {record.title}: records {other.id[:12]} and "
                f"{record.id[:12]} ({_difference(other, record)}): keep one run per folder"
            )
    return found


def seed_values(
    by_seed: Mapping[int, Record] | None,
    seeds: Sequence[int],
    value: Callable[[Record], float],
) -> SeedValues:
    """One value for each done record, and why the other seeds have none."""
    found = by_seed or {}
    done = {seed: found[seed] for seed in sorted(found) if found[seed].status == "done"}
    notes = [why(record) for seed, record in found.items() if seed not in done]
    notes += [("missing", "no record", seed) for seed in seeds if seed not in found]
    return SeedValues(
        by_seed=tuple((seed, value(record)) for seed, record in done.items()),
        notes=gather_notes(notes),
    )


def certifier_of(record: Record) -> str | None:
    """Name of the certifier of a Lipschitz bound or of radii; None where none covers the model."""
    task = record.task
    known = task.kind in ("lipschitz", "radii") and task.certifier is not None
    return task.certifier.name if known else None  # type: ignore[union-attr]


def why(record: Record, before: str = "") -> tuple[str, str, int]:
    """Status, reason and seed of a record that is not done, for `gather_notes`."""
    return record.status, before + (record.reason or "no reason recorded"), record.task.model.seed


def grouped(items: Iterable[T], key: Callable[[T], K]) -> Iterable[tuple[K, list[T]]]:
    """Items by a key, in the order of their first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.items()


def robust(record: Record) -> float:
    """Robust accuracy of a done attack or transfer: images correct both clean and attacked."""
    return _metrics(record, AccuracyMetrics).robust_accuracy


def adversarial(record: Record) -> float:
    """Adversarial accuracy of a done attack or transfer: the entry of a transfer matrix."""
    return _metrics(record, AccuracyMetrics).adversarial_accuracy


def clean(record: Record) -> float:
    """Clean accuracy, as a done attack, transfer or certificate reports it."""
    assert isinstance(record.metrics, (AccuracyMetrics, RadiiMetrics))
    return record.metrics.clean_accuracy


def lipschitz(record: Record) -> LipschitzMetrics:
    """What a done Lipschitz bound measured."""
    return _metrics(record, LipschitzMetrics)


def radii(record: Record) -> RadiiMetrics:
    """What done certificates of single images measured."""
    return _metrics(record, RadiiMetrics)


def training(record: Record) -> TrainingMetrics:
    """What a done training measured."""
    return _metrics(record, TrainingMetrics)


def _metrics(record: Record, kind: type[M]) -> M:
    assert isinstance(record.metrics, kind), "records are checked when they are made"
    return record.metrics


def _same(what: str, values: Iterable[str]) -> None:
    found = sorted(set(values))
    if len(found) > 1:
        raise StoreError(
            f"records with more than one {what} cannot share a leaderboard: "
            f"{'; '.join(found)}: keep one run per folder"
        )


def _difference(one: Record, other: Record) -> str:
    first, second = (record.task.model_dump(mode="json") for record in (one, other))
    differing = sorted(name for name in first if first[name] != second.get(name))
    return f"they differ in {', '.join(differing)}"
