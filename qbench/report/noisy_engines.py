"""Rows of models on other engines, exact, with shots, with noise or on a device: never ranked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qbench.model_names import ModelName
from qbench.records.identity import Engine
from qbench.records.record import Card, Device, Record
from qbench.records.statistics import mean_std
from qbench.report.outcomes import NORMS, Outcomes, ReadColumns
from qbench.report.questions import (
    answers,
    certifier_of,
    clean,
    grouped,
    robust,
    seed_values,
    why,
)
from qbench.report.questions import radii as measured
from qbench.report.radii import by_seed
from qbench.report.seed_values import Note, SeedValues, gather_notes
from qbench.report.significance import Resampled
from qbench.report.transfer import Setting

Kind = Literal["exact", "shots", "device noise", "hardware"]
Interval = tuple[float, float] | None
_Place = tuple[str, int | None] | None  # an engine and shots; None for a model that names none
_ASKED = ("attack", "transfer", "checks")  # kinds of tasks that may ask for an engine


@dataclass(frozen=True)
class FromCounts:
    """Certified accuracy of an engine's own expected scores in a norm, at each budget.

    It holds with `confidence`, which is below 1: outcomes were counted.
    """

    certifier: str
    norm: str
    confidence: float
    accuracy: Mapping[float, SeedValues]


@dataclass(frozen=True)
class EngineRow:
    """One model on one engine beside the one that ranks, `name` as it is asked for; `attacks_saw`
    is this engine or the ideal one, None where nothing was attacked.

    Scores of the kind `exact` are those of the function that ranks, computed elsewhere. `worst` is
    the worst case per image at each budget, over every attack there, and `worst95` its 95 %
    interval over seeds, images and fresh passes. `signal` is the slope of the scores on the exact
    ones, by seed: noise shrinks scores, and shrunken scores look robust to attacks that follow
    them. `certified` is what was certified from counts, by norm: the lower end of the interval
    whose upper end is `worst`.
    """

    name: str
    model: str
    kind: Kind
    engine: str
    shots: int | None
    attacks_saw: Literal["engine", "ideal"] | None
    images: int
    clean: SeedValues
    robust: Mapping[Setting, SeedValues]
    worst: Mapping[float, SeedValues]
    worst95: Mapping[float, Interval]
    signal: SeedValues
    calibrated: tuple[str, ...]
    dates: tuple[str, ...]
    jobs: tuple[str, ...]
    mitigation: tuple[str, ...]
    notes: tuple[Note, ...]
    certified: tuple[FromCounts, ...] = ()

    def certified_at(self, norm: str, eps: float) -> SeedValues | None:
        """Certified accuracy at a budget; None where none is on record."""
        found = (one.accuracy.get(eps) for one in self.certified if one.norm == norm)
        return next(found, None)


def split(
    records: Iterable[Record], cards: Mapping[str, Card]
) -> tuple[list[Record], list[Record]]:
    """Records of exact scores, each model's from one engine, and the others.

    That engine is the model's own, as its card says, where it was attacked there; else the one
    with most records. A task that was not done says nothing of its scores. Where it asked for an
    engine, it stands with the exact ones only if something else was done on that engine exactly.
    Images that were made elsewhere are part of no exact matrix.
    """
    given = list(records)
    exact_engines = {_where(r) for r in given if r.status == "done" and r.exact}
    made_exactly = {r.id: r.exact for r in given if r.task.kind == "attack"}
    homes = _homes(given, cards)
    exact: list[Record] = []
    elsewhere: list[Record] = []
    for record in given:
        is_exact = record.exact
        if record.status != "done" and _where(record) is not None:
            is_exact = _where(record) in exact_engines
        if record.task.kind in _ASKED:
            is_exact &= _where(record) == homes.get(record.task.model.name, _where(record))
        if record.task.kind == "transfer":
            source, engine = record.task.source.name, record.task.source_engine
            is_exact &= made_exactly.get(record.task.made_by.id, True)
            is_exact &= _place(engine) == homes.get(source, _place(engine))
        (exact if is_exact else elsewhere).append(record)
    return exact, elsewhere


def _homes(records: Iterable[Record], cards: Mapping[str, Card]) -> dict[str, _Place]:
    """By model, the engine whose exact scores rank."""
    found: defaultdict[str, Counter[_Place]] = defaultdict(Counter)
    for record in records:
        if record.task.kind in _ASKED and record.status == "done" and record.exact:
            found[record.task.model.name][_where(record)] += 1
    homes = {}
    for model, places in found.items():
        card = cards.get(model)
        own = None if card is None or card.engine is None else (card.engine, None)
        most = max(places, key=lambda place: (places[place], place or ("", None)))
        homes[model] = None if None in places else own if own in places else most
    return homes


def noisy_engines(records: Sequence[Record], columns: ReadColumns) -> tuple[EngineRow, ...]:
    """A row for each model, engine, number of shots and images, by model and engine.

    Args:
        records: Those that do not rank; the attacks and certificates among them are shown.
        columns: Per-image outcomes of a record.

    Raises:
        StoreError: Two records answer one question, or disagree with their per-image outcomes.
    """
    attacked = [record for record in records if record.task.kind == "attack"]
    radii = [record for record in records if record.task.kind == "radii"]
    certified = dict(grouped(radii, _ground))
    there = {_ground(record) for record in attacked}
    rows = [
        _row(group, certified.get(_ground(group[0]), []), columns)
        for _, group in grouped(attacked, _key)
    ]
    rows += [_row([], group, columns) for place, group in certified.items() if place not in there]
    return tuple(
        sorted(
            rows,
            key=lambda row: (row.model, row.engine, row.shots or 0, row.images, row.mitigation),
        )
    )


def _row(
    attacked: Sequence[Record], certified: Sequence[Record], columns: ReadColumns
) -> EngineRow:
    """A row of attacks on one engine, if there are any, and of what is certified there."""
    found, group = answers(attacked), attacked or certified
    order = sorted(found, key=lambda q: (q.attack or "", q.eps or 0.0))
    settings = {Setting(q.attack or "", q.eps or 0.0): found[q] for q in order}
    budgets = sorted({setting.eps for setting in settings})
    seeds = sorted({record.task.model.seed for record in group})
    outcomes = Outcomes(found, list(settings), columns)
    done = [record for record in group if record.status == "done"]
    devices = [
        record.device
        for record in (done or certified)
        if record.status == "done" and record.device is not None
    ]
    task = group[0].task
    engine, name = getattr(task, "engine", None), task.model.name
    mitigation = engine.mitigation if engine else {}
    where = engine.name if engine else None
    return EngineRow(
        name=str(ModelName(name, where, engine.shots if engine else None)),
        model=name,
        kind="exact" if done and not devices else _kind(devices),
        engine=engine.name if engine else "the model's own",
        shots=engine.shots if engine else None,
        attacks_saw=None if not attacked else engine.attacked if engine else "engine",
        images=task.data.images,
        clean=_mean_by_seed((r.task.model.seed, clean(r)) for r in done),
        robust={s: seed_values(of, seeds, robust) for s, of in settings.items()},
        worst={eps: outcomes.score(name, eps, seeds) for eps in budgets},
        worst95={eps: _interval(name, outcomes.worst(name, eps)) for eps in budgets},
        signal=_mean_by_seed(
            (r.task.model.seed, r.device.signal_scale)
            for r in done
            if r.device is not None and r.device.signal_scale is not None
        ),
        calibrated=_distinct(device.calibrated for device in devices),
        dates=_distinct(device.date and device.date[:10] for device in devices),
        jobs=_distinct(job for device in devices for job in device.jobs),
        mitigation=_distinct(
            name if value is True else f"{name} {value}"
            for name, value in mitigation.items()
            if value is not False
        ),
        notes=gather_notes(
            why(r, f"{r.label or certifier_of(r)}: ")
            for r in (*attacked, *certified)
            if r.status != "done"
        ),
        certified=tuple(
            _from_counts(name, norm, of, columns)
            for (name, norm), of in grouped(certified, _certificate)
        ),
    )


def _from_counts(
    certifier: str, norm: str, group: Sequence[Record], columns: ReadColumns
) -> FromCounts:
    radii, failure = by_seed(group, columns), defaultdict[int, float](float)
    for record in group:  # the larger of an image's radii is right if all of them are
        if record.status == "done":
            failure[record.task.model.seed] += 1 - measured(record).confidence
    return FromCounts(
        certifier=certifier,
        norm=norm,
        confidence=1 - max(failure.values(), default=1.0),
        accuracy={
            eps: SeedValues(tuple((seed, of.accuracy(eps)) for seed, of in radii.items()))
            for eps in sorted({eps for record in group for eps in _budgets(record)})
        },
    )


def certified_budgets(rows: Sequence[EngineRow]) -> list[tuple[str, float]]:
    """The norms and budgets at which anything is certified, or that were attacked too."""
    attacked = {eps for row in rows for eps in row.worst}
    found = {
        (one.norm, eps)
        for row in rows
        for one in row.certified
        for eps, values in one.accuracy.items()
        if values.mean or not attacked or (one.norm == "linf" and eps in attacked)
    }
    return sorted(found, key=lambda of: (NORMS.index(of[0]), of[1]))


def _interval(model: str, by_seed: Mapping[int, NDArray[np.float64]]) -> Interval:
    return Resampled({model: by_seed}).interval95(model) if by_seed else None


def _certificate(record: Record) -> tuple[str, str]:
    assert record.task.kind == "radii"
    return certifier_of(record) or "", record.task.norm


def _budgets(record: Record) -> Sequence[float]:
    assert record.task.kind == "radii"
    return record.task.eps


def _ground(record: Record) -> tuple[object, ...]:
    """Model, engine and images, whatever attacks saw."""
    engine = getattr(record.task, "engine", None)
    at = None if engine is None else engine.model_copy(update={"attacked": "engine"})
    return record.task.model.name, at and str(at.model_dump_json()), record.task.data.images


def _key(record: Record) -> tuple[object, ...]:
    return record.task.model.name, _engine(record), record.task.data.images


def _engine(record: Record) -> str | None:
    """The engine that a task asked for, with all its settings; None for the model's own."""
    engine = getattr(record.task, "engine", None)
    return None if engine is None else str(engine.model_dump_json())


def _where(record: Record) -> _Place:
    """The engine and shots that a task asked for."""
    return _place(getattr(record.task, "engine", None))


def _place(engine: Engine | None) -> _Place:
    return None if engine is None else (engine.name, engine.shots)


def _kind(devices: Sequence[Device]) -> Kind:
    if any(device.jobs or not device.simulated for device in devices):
        return "hardware"
    return "device noise" if any(device.name for device in devices) else "shots"


def _mean_by_seed(found: Iterable[tuple[int, float]]) -> SeedValues:
    values: dict[int, list[float]] = {}
    for seed, value in found:
        values.setdefault(seed, []).append(value)
    return SeedValues(tuple((seed, mean_std(of)[0]) for seed, of in sorted(values.items())))


def _distinct(found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in found if value}))
