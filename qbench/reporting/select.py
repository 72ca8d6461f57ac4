"""Which records answer which question, and whether they may stand side by side at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qbench.errors import StoreError
from qbench.records import ModelRef, Record, TaskKind, ThreatModelRef
from qbench.reporting.board import ModelFacts
from qbench.reporting.scores import Note, Score

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

ATTACKED: tuple[TaskKind, ...] = ("robust-accuracy", "transfer-accuracy")
# What may differ between two results of one question without explaining why there are two.
_NO_EXPLANATION = {"key", "cost", "metrics", "images", "artifact", "environment", "flags"}


@dataclass(frozen=True)
class Question:
    """What one record answers; None where the task has no such part or the record does not say."""

    task: TaskKind
    target: str
    source: str | None
    attack: str | None
    eps: float | None
    certifier: str | None
    norm: str | None = None
    budgets: tuple[float, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Question:
        """The question that a record answers, whatever its seed."""
        return cls(
            task=record.task,
            target=record.target.model,
            source=record.source.model if record.source else None,
            attack=record.attack.label if record.attack else None,
            eps=record.threat_model.eps if record.threat_model else None,
            certifier=record.certifier.name if record.certifier else None,
            norm=record.perturbations.norm if record.perturbations else None,
            budgets=tuple(record.perturbations.eps) if record.perturbations else (),
        )

    def __str__(self) -> str:
        parts = [f"{self.task} of {self.target}"]
        parts += [f"from {self.source}"] if self.source else []
        parts += [f"by {name}" for name in (self.attack, self.certifier) if name]
        parts += [f"at eps {self.eps:g}"] if self.eps is not None else []
        parts += [f"in {self.norm}"] if self.norm else []
        return " ".join(parts)


Answers = Mapping[Question, Mapping[int, Record]]


def check_together(records: Sequence[Record]) -> None:
    """Refuse records whose numbers must not be compared.

    Raises:
        StoreError: There is none; or they mix protocols, data, numbers of images, threat models,
            pixel boxes, versions of a plugin, or weights of one model and seed.
    """
    if not records:
        raise StoreError("no records to report: run 'qbench run' first")
    attacked = [r for r in records if r.task in ATTACKED]
    imaged = [r for r in records if r.task in (*ATTACKED, "certification")]
    trained = [ref for r in records for ref in (r.target, r.source) if ref is not None]
    _same("protocol", (f"{r.protocol.name} {r.protocol.sha256[:12]}" for r in records))
    _same("data set", (f"{r.dataset.name} version {r.dataset.version}" for r in records))
    _same("number of images", (f"{r.dataset.n} {r.dataset.split}" for r in imaged))
    _same("data file", (r.dataset.sha256[:12] for r in imaged))
    _same("threat model", (_threat(r.threat_model) for r in attacked if r.threat_model))
    _same("pixel box", _boxes(imaged))
    for name, group in grouped(trained, lambda ref: ref.model):
        _same(f"version of {name}", (_identity(ref) for ref in group))
        counts = (f"{ref.parameters}" for ref in group if ref.parameters is not None)
        _same(f"number of parameters of {name}", counts)
    with_weights = [ref for ref in trained if ref.weights_sha256]
    for (name, seed), group in grouped(with_weights, lambda ref: (ref.model, ref.seed)):
        _same(f"set of weights of {name} seed {seed}", (str(r.weights_sha256)[:12] for r in group))
    attacks = [r.attack for r in records if r.attack]
    for name, versions in grouped(attacks, lambda ref: ref.name):
        _same(f"version of {name}", (f"{ref.plugin} {ref.version}" for ref in versions))


def answers(records: Iterable[Record]) -> Answers:
    """Records by question and seed of the target.

    Diagnoses answer none: each looks at what was there when it ran, so a folder may hold several.

    Raises:
        StoreError: Two records answer one question for one seed.
    """
    found: dict[Question, dict[int, Record]] = {}
    asked = (record for record in records if record.task != "diagnosis")
    for record in sorted(asked, key=lambda r: r.key):
        by_seed = found.setdefault(Question.of(record), {})
        other = by_seed.setdefault(record.target.seed, record)
        if other is not record:
            raise StoreError(
                f"two results for {Question.of(record)}, seed {record.target.seed}: records "
                f"{other.key[:12]} and {record.key[:12]} ({_difference(other, record)}); "
                "delete one of them"
            )
    return found


def exact(record: Record) -> bool:
    """Whether scores are the model's own: no shots, no noise. Certificates are about such only."""
    return record.engine is None or (record.engine.exact and record.engine.shots is None)


def models_of(records: Iterable[Record]) -> tuple[ModelFacts, ...]:
    """Every model that a record names, by family, then by name."""
    refs = [ref for r in records for ref in (r.target, r.source) if ref is not None]
    # Only a record of a model that was loaded counts its parameters.
    counts = {ref.model: ref.parameters for ref in refs if ref.parameters is not None}
    facts = {
        ModelFacts(
            ref.model, ref.family, counts.get(ref.model), ref.plugin, ref.version, ref.structure
        )
        for ref in refs
    }
    return tuple(sorted(facts, key=lambda model: (model.family, model.name)))


def score(
    by_seed: Mapping[int, Record] | None,
    seeds: Sequence[int],
    value: Callable[[Record], float],
) -> Score:
    """One value a seed from the records that are done, and a note for each seed without one."""
    found = by_seed or {}
    done = {seed: record for seed, record in sorted(found.items()) if record.status == "done"}
    notes: list[tuple[str, str, int]] = [
        (record.status, record.reason or "no reason recorded", seed)
        for seed, record in found.items()
        if record.status != "done"
    ]
    notes += [("missing", "no record", seed) for seed in seeds if seed not in found]
    return Score(
        by_seed=tuple((seed, value(record)) for seed, record in done.items()),
        notes=gather_notes(notes),
    )


def gather_notes(notes: Iterable[tuple[str, str, int]]) -> tuple[Note, ...]:
    """Notes of (status, reason, seed), one for all the seeds that share a reason."""
    gathered: dict[tuple[str, str], set[int]] = {}
    for status, reason, seed in notes:
        gathered.setdefault((status, reason), set()).add(seed)
    return tuple(
        Note(status, reason, tuple(sorted(seeds)))
        for (status, reason), seeds in sorted(gathered.items())
    )


def _same(what: str, values: Iterable[str]) -> None:
    found = sorted(set(values))
    if len(found) > 1:
        raise StoreError(
            f"records with more than one {what} cannot share a leaderboard: "
            f"{'; '.join(found)}: keep one run per folder"
        )


def grouped(items: Iterable[T], key: Callable[[T], K]) -> Iterable[tuple[K, list[T]]]:
    """Items by a key, in the order of their first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.items()


def _identity(ref: ModelRef) -> str:
    return f"{ref.plugin} {ref.version} {ref.family} {ref.structure}"


def _threat(threat: ThreatModelRef) -> str:
    return f"{threat.goal} {threat.norm} box {threat.box}"


def _boxes(records: Iterable[Record]) -> Iterable[str]:
    return (f"{ref.box}" for r in records for ref in (r.threat_model, r.perturbations) if ref)


def _difference(one: Record, other: Record) -> str:
    fields = [name for name in Record.model_fields if name not in _NO_EXPLANATION]
    differing = [name for name in fields if getattr(one, name) != getattr(other, name)]
    return f"they differ in {', '.join(differing)}" if differing else "they differ in nothing else"
