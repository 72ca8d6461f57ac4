"""From records to a board: the rows, their order, and every number a leaderboard shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.metrics import mean_std, worst_case
from qbench.records import AccuracyMetrics, LipschitzMetrics, Record, TaskKind, TrainingMetrics
from qbench.reporting.board import (
    Board,
    Bound,
    Curve,
    ModelFacts,
    Note,
    Row,
    Score,
    Setting,
    Transfer,
)
from qbench.reporting.select import (
    Answers,
    Question,
    answers,
    check_together,
    gather_notes,
    models_of,
    score,
)
from qbench.reporting.subject import describe

Images = Callable[[Record], Mapping[str, NDArray[Any]]]

M = TypeVar("M")

PREFERRED_EPS = 0.1


def collect(
    records: Sequence[Record], images: Images, preferred_eps: float = PREFERRED_EPS
) -> Board:
    """The board of one run; the order of `records` does not matter.

    Args:
        records: Records of one protocol, of any status.
        images: Per-image outcomes of a record, e.g. `Store.images`; read at the ranking budget.
        preferred_eps: The budget to rank at, where it was measured.

    Raises:
        StoreError: The records do not belong together, answer a question twice, or disagree with
            their per-image outcomes.
    """
    check_together(records)
    found = answers(records)
    models = models_of(records)
    seeds = tuple(sorted({record.target.seed for record in records}))
    settings = _settings(found, "robust-accuracy")
    rank_eps = ranking_eps((setting.eps for setting in settings), preferred_eps)
    rows = [_row(model, found, seeds, settings, rank_eps, images) for model in models]
    return Board(
        subject=describe(records),
        models=models,
        settings=settings,
        rank_eps=rank_eps,
        rows=_ranked(rows),
        transfers=tuple(
            _transfer(setting, models, found, seeds)
            for setting in _settings(found, "transfer-accuracy")
        ),
        curves=tuple(curve for model in models if (curve := _curve(model.name, found)).by_seed),
    )


def ranking_eps(budgets: Iterable[float], preferred: float = PREFERRED_EPS) -> float | None:
    """The preferred budget if measured, else the middle one (lower of two); None without any."""
    ordered = sorted(set(budgets))
    if preferred in ordered or not ordered:
        return preferred if ordered else None
    return ordered[(len(ordered) - 1) // 2]


def _settings(found: Answers, task: str) -> tuple[Setting, ...]:
    return tuple(
        sorted(
            {
                Setting(question.attack, question.eps)
                for question in found
                if question.task == task and question.attack and question.eps is not None
            }
        )
    )


def _row(
    model: ModelFacts,
    found: Answers,
    seeds: Sequence[int],
    settings: Sequence[Setting],
    rank_eps: float | None,
    images: Images,
) -> Row:
    asked = {setting: found.get(_attacked(model.name, setting)) for setting in settings}
    at_rank = {s.attack: asked[s] or {} for s in settings if s.eps == rank_eps}
    own = {
        seed
        for question, by_seed in found.items()
        if question.target == model.name
        for seed in by_seed
    }
    return Row(
        rank=None,
        model=model,
        seeds=tuple(sorted(own)),
        clean=_clean([by_seed for by_seed in asked.values() if by_seed], seeds),
        robust={setting: score(asked[setting], seeds, _robust) for setting in settings},
        worst=_worst(at_rank, seeds, images),
        bounds=_bounds(model.name, found, seeds),
        notes=_other_notes(model.name, found),
    )


def _ranked(rows: Iterable[Row]) -> tuple[Row, ...]:
    def order(row: Row) -> tuple[bool, float, float, str]:
        worst, clean = row.worst.mean, row.clean.mean
        return (worst is None, -(worst or 0.0), -(clean or 0.0), row.model.name)

    return tuple(
        replace(row, rank=None if row.worst.mean is None else place)
        for place, row in enumerate(sorted(rows, key=order), start=1)
    )


def _clean(asked: Sequence[Mapping[int, Record]], seeds: Sequence[int]) -> Score:
    # Each attack and budget reports the clean accuracy again. Where scores are exact the values
    # agree; where they are sampled, their mean is the better estimate.
    values: dict[int, list[float]] = {}
    notes: list[tuple[str, str, int]] = []
    for by_seed in asked:
        for seed, record in by_seed.items():
            if record.status == "done":
                values.setdefault(seed, []).append(_accuracy(record).clean_accuracy)
            else:
                notes.append((record.status, record.reason or "no reason recorded", seed))
    notes += [("missing", "no record", seed) for seed in seeds if not any(seed in a for a in asked)]
    return Score(
        by_seed=tuple((seed, mean_std(found)[0]) for seed, found in sorted(values.items())),
        notes=gather_notes(note for note in notes if note[2] not in values),
    )


def _worst(
    at_rank: Mapping[str, Mapping[int, Record]], seeds: Sequence[int], images: Images
) -> Score:
    values = []
    for seed in seeds:
        ran = [by_seed.get(seed) for _, by_seed in sorted(at_rank.items())]
        robust = [_robust_images(r, images(r)) for r in ran if r is not None and r.status == "done"]
        if len({len(withstood) for withstood in robust}) > 1:
            raise StoreError("attacks on one model were not made on the same images")
        if robust:
            values.append((seed, float(np.mean(worst_case(np.stack(robust))))))
    notes = [
        replace(note, reason=f"{attack}: {note.reason}")
        for attack, by_seed in sorted(at_rank.items())
        for note in score(by_seed, seeds, _robust).notes
    ]
    return Score(by_seed=tuple(values), notes=tuple(sorted(notes)))


def _robust_images(record: Record, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """(n,), in the order of image indices: classified correctly both clean and attacked."""
    try:
        order = np.argsort(columns["index"], kind="stable")
        label = columns["label"][order]
        withstood: NDArray[np.bool_] = (columns["clean_prediction"][order] == label) & (
            columns["adversarial_prediction"][order] == label
        )
    except (KeyError, IndexError) as error:
        raise StoreError(f"per-image outcomes of record {record.key}: {error!r}") from error
    claimed = _accuracy(record).robust_accuracy
    if len(withstood) == 0 or abs(float(withstood.mean()) - claimed) > 1e-6:
        raise StoreError(
            f"record {record.key} says robust accuracy {claimed:g}, which its "
            f"{len(withstood)} per-image outcomes do not give; delete it and run again"
        )
    return withstood


def _bounds(model: str, found: Answers, seeds: Sequence[int]) -> tuple[Bound, ...]:
    asked = {
        question.certifier: by_seed
        for question, by_seed in found.items()
        if question.task == "lipschitz" and question.target == model
    }
    return tuple(_bound(model, name, asked[name], seeds) for name in sorted(asked, key=str))


def _bound(
    model: str, certifier: str | None, by_seed: Mapping[int, Record], seeds: Sequence[int]
) -> Bound:
    done = [_lipschitz(record) for record in by_seed.values() if record.status == "done"]
    return Bound(
        model=model,
        certifier=certifier,
        scope=", ".join(sorted({metrics.scope for metrics in done})) or None,
        points=min((metrics.points for metrics in done), default=None),
        bound=score(by_seed, seeds, lambda record: _lipschitz(record).bound),
        sampled=score(by_seed, seeds, lambda record: _lipschitz(record).sampled_jacobian),
    )


def _transfer(
    setting: Setting, models: Sequence[ModelFacts], found: Answers, seeds: Sequence[int]
) -> Transfer:
    names = tuple(model.name for model in models)
    entries = {}
    for source in names:
        for target in names:
            question = _attacked(target, setting, None if source == target else source)
            entries[source, target] = score(found.get(question), seeds, _adversarial)
    return Transfer(setting=setting, models=names, entries=entries)


def _curve(model: str, found: Answers) -> Curve:
    by_seed = found.get(Question("training", model, None, None, None, None), {})
    done = {s: r for s, r in sorted(by_seed.items()) if r.status == "done"}
    curves = ((seed, tuple(_training(record).test_accuracy)) for seed, record in done.items())
    return Curve(model, tuple((seed, curve) for seed, curve in curves if curve))


def _attacked(target: str, setting: Setting, source: str | None = None) -> Question:
    task: TaskKind = "robust-accuracy" if source is None else "transfer-accuracy"
    return Question(task, target, source, setting.attack, setting.eps, None)


def _other_notes(model: str, found: Answers) -> tuple[Note, ...]:
    """Notes on results that have no cell of their own: training, and tasks without a setting."""
    return gather_notes(
        (record.status, f"{question.task}: {record.reason or 'no reason recorded'}", seed)
        for question, by_seed in found.items()
        if question.target == model and (question.task == "training" or _has_no_cell(question))
        for seed, record in by_seed.items()
        if record.status != "done"
    )


def _has_no_cell(question: Question) -> bool:
    attacked = question.task in ("robust-accuracy", "transfer-accuracy")
    return attacked and (question.attack is None or question.eps is None)


def _accuracy(record: Record) -> AccuracyMetrics:
    return _metrics(record, AccuracyMetrics)


def _robust(record: Record) -> float:
    return _accuracy(record).robust_accuracy


def _adversarial(record: Record) -> float:
    return _accuracy(record).adversarial_accuracy


def _lipschitz(record: Record) -> LipschitzMetrics:
    return _metrics(record, LipschitzMetrics)


def _training(record: Record) -> TrainingMetrics:
    return _metrics(record, TrainingMetrics)


def _metrics(record: Record, kind: type[M]) -> M:
    if not isinstance(record.metrics, kind):
        raise StoreError(f"record {record.key} is done but has no {kind.__name__}; delete it")
    return record.metrics
