"""From records to a board: the rows, their order, and every number a leaderboard shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from qbench.metrics import mean_std
from qbench.records import Record
from qbench.reporting.board import Board, Curve, ModelFacts, Row, Setting
from qbench.reporting.certificates import Certificates
from qbench.reporting.claims import TO_MARGIN, Bound
from qbench.reporting.elsewhere import elsewhere
from qbench.reporting.findings import findings
from qbench.reporting.matrices import transfer
from qbench.reporting.outcomes import Distances, Images, Outcomes
from qbench.reporting.scores import Note, Score
from qbench.reporting.select import (
    Answers,
    Question,
    answers,
    check_together,
    exact,
    gather_notes,
    grouped,
    models_of,
    score,
)
from qbench.reporting.significance import compare, majority
from qbench.reporting.subject import describe
from qbench.reporting.values import clean, lipschitz, robust, training

PREFERRED_EPS = 0.1


def collect(
    records: Sequence[Record],
    images: Images,
    preferred_eps: float = PREFERRED_EPS,
    *,
    transferred: bool = True,
) -> Board:
    """The board of one run; the order of `records` does not matter.

    Args:
        records: Records of one protocol, of any status.
        images: Per-image outcomes of a record, e.g. `Store.images`.
        preferred_eps: The budget to rank at, where it was measured.
        transferred: Whether to read per-image outcomes of transferred images too, and the distances
            of adversarial images: there are many.

    Raises:
        StoreError: The records do not belong together, answer a question twice, or disagree with
            their per-image outcomes.
    """
    away = elsewhere(records, images)
    if any(map(exact, records)) or not away:
        records = [record for record in records if exact(record)]
        check_together(records)
    found = answers(records)
    models = models_of(records)
    seeds = tuple(sorted({record.target.seed for record in records}))
    settings = settings_of(found, "robust-accuracy")
    rank_eps = ranking_eps((setting.eps for setting in settings), preferred_eps)
    outcomes = Outcomes(found, settings, images, rank_eps if transferred else None)
    certificates = Certificates(
        found,
        images,
        min((r.threat_model.norm for r in records if r.threat_model), default=None),
        {setting.eps for setting in settings},
        Distances(found, images) if transferred else None,
    )
    results = _Results(found, seeds, settings, rank_eps, outcomes, certificates)
    by_model = {name: list(of) for name, of in grouped(records, lambda r: r.target.model)}
    rows = [_row(model, by_model.get(model.name, []), results) for model in models]
    ranked = _ranked(rows)
    kept = [
        (row.model.name, majority(by_seed))
        for row in ranked
        if rank_eps is not None and (by_seed := outcomes.worst(row.model.name, rank_eps))
    ]
    counts = {name: int(images_kept.sum()) for name, images_kept in kept}
    return Board(
        subject=describe(records),
        models=models,
        settings=settings,
        rank_eps=rank_eps,
        rows=tuple(replace(row, kept=counts.get(row.model.name)) for row in ranked),
        transfers=tuple(
            transfer(setting, models, found, seeds)
            for setting in settings_of(found, "transfer-accuracy")
        ),
        curves=tuple(curve for model in models if (curve := _curve(model.name, found)).by_seed),
        comparisons=compare(kept),
        elsewhere=away,
        diagnosed=len(
            {
                (record.target.model, record.target.seed)
                for record in records
                if record.task == "diagnosis" and record.status == "done"
            }
        ),
    )


def ranking_eps(budgets: Iterable[float], preferred: float = PREFERRED_EPS) -> float | None:
    """The preferred budget if measured, else the middle one (lower of two); None without any."""
    ordered = sorted(set(budgets))
    if preferred in ordered or not ordered:
        return preferred if ordered else None
    return ordered[(len(ordered) - 1) // 2]


def settings_of(found: Answers, task: str) -> tuple[Setting, ...]:
    """The attacks and budgets that tasks of a kind were made with, sorted."""
    return tuple(
        sorted(
            {
                Setting(question.attack, question.eps)
                for question in found
                if question.task == task and question.attack and question.eps is not None
            }
        )
    )


@dataclass(frozen=True)
class _Results:
    found: Answers
    seeds: Sequence[int]
    settings: Sequence[Setting]
    rank_eps: float | None
    outcomes: Outcomes
    certificates: Certificates


def _row(model: ModelFacts, own: Sequence[Record], results: _Results) -> Row:
    name, seeds, settings = model.name, results.seeds, results.settings
    found, outcomes, rank_eps = results.found, results.outcomes, results.rank_eps
    asked = {
        s: found.get(Question("robust-accuracy", name, None, s.attack, s.eps, None), {})
        for s in settings
    }
    worst_at = {eps: outcomes.score(name, eps, seeds) for eps in sorted({s.eps for s in settings})}
    return Row(
        rank=None,
        model=model,
        seeds=tuple(sorted({record.target.seed for record in own})),
        clean=_clean([*asked.values()] if settings else _certifications(name, found), seeds),
        robust={setting: score(asked[setting], seeds, robust) for setting in settings},
        worst=Score() if rank_eps is None else worst_at[rank_eps],
        worst_at=worst_at,
        with_transfer=outcomes.with_transfer(name),
        kept=None,
        bounds=_bounds(name, found, seeds),
        findings=findings(name, own, rank_eps),
        notes=_other_notes(own, results.certificates),
        certified=results.certificates.certified(name, seeds),
        probabilistic=results.certificates.probabilistic(name, seeds),
    )


def _ranked(rows: Iterable[Row]) -> tuple[Row, ...]:
    def order(row: Row) -> tuple[bool, float, float, str]:
        worst, clean = row.worst.mean, row.clean.mean
        return (worst is None, -(worst or 0.0), -(clean or 0.0), row.model.name)

    return tuple(
        replace(row, rank=None if row.worst.mean is None else place)
        for place, row in enumerate(sorted(rows, key=order), start=1)
    )


def _certifications(model: str, found: Answers) -> list[Mapping[int, Record]]:
    return [
        by_seed
        for question, by_seed in found.items()
        if (question.task, question.target) == ("certification", model)
    ]


def _clean(asked: Sequence[Mapping[int, Record]], seeds: Sequence[int]) -> Score:
    # Each attack and budget, or certifier, reports the clean accuracy again. Where scores are exact
    # the values agree; where they are sampled, their mean is the better estimate.
    values: dict[int, list[float]] = {}
    notes: list[tuple[str, str, int]] = []
    for by_seed in asked:
        for seed, record in by_seed.items():
            if record.status == "done":
                values.setdefault(seed, []).append(clean(record))
            else:
                notes.append((record.status, record.reason or "no reason recorded", seed))
    notes += [("missing", "no record", seed) for seed in seeds if not any(seed in a for a in asked)]
    return Score(
        by_seed=tuple((seed, mean_std(found)[0]) for seed, found in sorted(values.items())),
        notes=gather_notes(note for note in notes if note[2] not in values),
    )


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
    done = [lipschitz(record) for record in by_seed.values() if record.status == "done"]
    return Bound(
        model=model,
        certifier=certifier,
        scope=", ".join(sorted({metrics.scope for metrics in done})) or None,
        points=min((metrics.points for metrics in done), default=None),
        bound=score(by_seed, seeds, lambda record: lipschitz(record).bound),
        sampled=score(by_seed, seeds, lambda record: lipschitz(record).sampled_jacobian),
        on_margins=score(by_seed, seeds, _on_margins),
        least_norm=max((metrics.least_norm for metrics in done), default=0.0),
    )


def _on_margins(record: Record) -> float:
    metrics = lipschitz(record)
    return TO_MARGIN[metrics.scope] * metrics.bound


def _curve(model: str, found: Answers) -> Curve:
    by_seed = found.get(Question("training", model, None, None, None, None), {})
    done = {s: r for s, r in sorted(by_seed.items()) if r.status == "done"}
    curves = ((seed, tuple(training(record).test_accuracy)) for seed, record in done.items())
    return Curve(model, tuple((seed, curve) for seed, curve in curves if curve))


def _other_notes(records: Iterable[Record], certificates: Certificates) -> tuple[Note, ...]:
    """Notes on results that have no cell of their own: training, diagnosis, tasks without ε, and
    certifications of a kind that the board does not show."""
    return gather_notes(
        (
            record.status,
            f"{record.task}: {record.reason or 'no reason recorded'}",
            record.target.seed,
        )
        for record in records
        if record.status != "done" and _has_no_cell(record) and not certificates.shows(record)
    )


def _has_no_cell(record: Record) -> bool:
    if record.task in ("robust-accuracy", "transfer-accuracy"):
        return record.attack is None or record.threat_model is None
    return record.task in ("training", "diagnosis", "certification")
