"""Rows of models whose circuits ran with shots, with noise, or on a device: shown, never ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.metrics import mean_std
from qbench.records import EngineRef, Record
from qbench.reporting.board import Setting
from qbench.reporting.outcomes import Images, Outcomes
from qbench.reporting.scores import Note, Score
from qbench.reporting.select import Question, answers, exact, gather_notes, grouped, score
from qbench.reporting.values import clean, robust

Kind = Literal["shots", "device noise", "hardware"]


@dataclass(frozen=True)
class EngineRow:
    """One model on one engine that is not exact; where attacks saw the exact twin, so it says.

    `worst` is the worst case per image at each budget, over every attack there. `signal` is the
    slope of the scores on the exact ones, by seed: noise shrinks scores, and shrunken scores look
    robust to attacks that follow them.
    """

    model: str
    family: str
    kind: Kind
    engine: str
    shots: int | None
    crafted_on: str
    images: int
    clean: Score
    robust: Mapping[Setting, Score]
    worst: Mapping[float, Score]
    signal: Score
    calibrated: tuple[str, ...]
    dates: tuple[str, ...]
    job_ids: tuple[str, ...]
    mitigation: tuple[str, ...]
    notes: tuple[Note, ...]


def elsewhere(records: Sequence[Record], images: Images) -> tuple[EngineRow, ...]:
    """A row for each model, engine, number of shots and images, by model and engine.

    Args:
        records: Of any kind; those of exact scores are passed over.
        images: Per-image outcomes of a record.

    Raises:
        StoreError: Two records answer one question, or disagree with their per-image outcomes.
    """
    inexact = [r for r in records if not exact(r) and r.task == "robust-accuracy" and r.attack]
    rows = [_row(group, images) for _, group in grouped(inexact, _key)]
    return tuple(
        sorted(
            rows,
            key=lambda row: (row.model, row.engine, row.shots or 0, row.images, row.mitigation),
        )
    )


def _key(record: Record) -> tuple[object, ...]:
    engine = _engine(record)
    mitigation = tuple(sorted(engine.mitigation.items()))
    where = engine.name, engine.shots, engine.crafted_on, mitigation
    return (record.target.model, *where, record.dataset.n)


def _row(group: Sequence[Record], images: Images) -> EngineRow:
    found = answers(group)
    settings = {_setting(q): by_seed for q, by_seed in sorted(found.items(), key=_order)}
    seeds = sorted({record.target.seed for record in group})
    outcomes = Outcomes(found, list(settings), images, None)
    done = [record for record in group if record.status == "done"]
    engines = [_engine(record) for record in done or group]
    first = group[0]
    return EngineRow(
        model=first.target.model,
        family=first.target.family,
        kind=_kind(engines),
        engine=engines[0].name,
        shots=engines[0].shots,
        crafted_on=engines[0].crafted_on,
        images=first.dataset.n,
        clean=_mean_by_seed((r.target.seed, clean(r)) for r in done),
        robust={s: score(by_seed, seeds, robust) for s, by_seed in settings.items()},
        worst={eps: outcomes.score(first.target.model, eps, seeds) for eps in _budgets(settings)},
        signal=_mean_by_seed(
            (r.target.seed, s) for r in done if (s := _engine(r).signal_scale) is not None
        ),
        calibrated=_distinct(e.calibrated for e in engines),
        dates=_distinct(e.date and e.date[:10] for e in engines),
        job_ids=_distinct(job for e in engines for job in e.job_ids),
        mitigation=_distinct(
            name if value is True else f"{name} {value}"
            for e in engines
            for name, value in e.mitigation.items()
            if value is not False
        ),
        notes=gather_notes(
            (r.status, f"{r.attack.label}: {r.reason or 'no reason'}", r.target.seed)
            for r in group
            if r.status != "done" and r.attack
        ),
    )


def _order(item: tuple[Question, object]) -> tuple[str, float]:
    question, _ = item
    return question.attack or "", question.eps or 0.0


def _setting(question: Question) -> Setting:
    return Setting(question.attack or "", question.eps or 0.0)


def _budgets(settings: Mapping[Setting, object]) -> list[float]:
    return sorted({setting.eps for setting in settings})


def _engine(record: Record) -> EngineRef:
    assert record.engine is not None  # or its scores would count as exact
    return record.engine


def _kind(engines: Sequence[EngineRef]) -> Kind:
    if any(engine.job_ids for engine in engines):
        return "hardware"
    return "device noise" if any(engine.device for engine in engines) else "shots"


def _mean_by_seed(found: Iterable[tuple[int, float]]) -> Score:
    values: dict[int, list[float]] = {}
    for seed, value in found:
        values.setdefault(seed, []).append(value)
    return Score(tuple((seed, mean_std(of)[0]) for seed, of in sorted(values.items())))


def _distinct(found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in found if value}))
