"""From results to a board: the rows, their order, and every number a leaderboard shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from qbench.errors import UsageError
from qbench.model_names import ModelName
from qbench.protocols import Protocol
from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.results import Results
from qbench.records.statistics import mean_std
from qbench.records.worst import RANKING_EPS, ranking_eps
from qbench.report.board import Board, Curve, ModelFacts, Row
from qbench.report.certificate_types import TO_MARGIN, Bound
from qbench.report.certificates import Certificates
from qbench.report.challenges import challenges
from qbench.report.flags import flags
from qbench.report.noisy_engines import noisy_engines, split
from qbench.report.outcomes import Distances, Outcomes, ReadColumns
from qbench.report.questions import (
    Answers,
    Question,
    adversarial,
    answers,
    check_together,
    clean,
    grouped,
    lipschitz,
    robust,
    seed_values,
    training,
    why,
)
from qbench.report.ranking import obstacles, ranked
from qbench.report.run_metadata import describe, versions
from qbench.report.seed_values import SeedValues, gather_notes
from qbench.report.significance import Resampled
from qbench.report.transfer import Setting, transfer


def collect(
    results: Results,
    *,
    eps: float | None = None,
    protocol: Protocol | None = None,
    transferred: bool = True,
) -> Board:
    """The board of results; the order of records does not matter.

    Args:
        results: Records of one protocol, of any status, and what belongs to them.
        eps: The budget to rank at; None for the protocol's, where it was measured.
        protocol: Tells the reference attack, the budget to rank at and the box of pixels.
        transferred: Whether to read the distances of adversarial images too: there are many.

    Raises:
        StoreError: The records do not belong together, answer a question twice, or disagree with
            their per-image outcomes.
        UsageError: Nothing was attacked at `eps`.
    """
    records, noisy = split(results.records, results.cards)
    columns = _remembering(results)
    away = noisy_engines(noisy, columns)
    if records or not away:
        check_together(records)
    found = answers(records)
    models = _models(records, results)
    seeds = tuple(sorted({record.task.model.seed for record in records}))
    settings = _settings(found, "attack")
    rank_eps = _rank_eps([setting.eps for setting in settings], eps, protocol)
    about = describe(records or noisy, results.records, protocol.box if protocol else None)
    outcomes = Outcomes(found, settings, columns)
    context = _Context(
        found=found,
        seeds=seeds,
        settings=settings,
        rank_eps=rank_eps,
        reference=_reference([setting.attack for setting in settings], protocol),
        outcomes=outcomes,
        certificates=Certificates(
            found,
            columns,
            about.norm,
            {setting.eps for setting in settings},
            Distances(records, columns) if transferred else None,
        ),
    )
    by_model = {name: list(of) for name, of in grouped(records, lambda r: r.task.model.name)}
    rows = ranked(_row(model, by_model.get(model.name, []), context) for model in models)
    resampled = Resampled(
        {
            row.model.name: by_seed
            for row in rows
            if rank_eps is not None and (by_seed := outcomes.worst(row.model.name, rank_eps))
        }
    )
    families = {model.name: model.family for model in models}
    checks = [r for r in records if r.task.kind == "checks" and r.status == "done"]
    return Board(
        about=about,
        models=models,
        settings=settings,
        reference=context.reference,
        rank_eps=rank_eps,
        rows=tuple(replace(row, worst95=resampled.interval95(row.model.name)) for row in rows),
        transfers=tuple(
            transfer(setting, families, found, seeds) for setting in _settings(found, "transfer")
        ),
        curves=tuple(curve for model in models if (curve := _curve(model.name, found)).by_seed),
        comparisons=resampled.comparisons([r.model.name for r in rows if r.rank is not None]),
        checked=len({(r.task.model.name, r.task.model.seed) for r in checks}),
        without_gradients=_without_gradients(records),
        noisy=away,
        challenges=challenges(records, columns),
        superseded=results.superseded,
        versions=versions(results),
        commands=results.commands,
    )


@dataclass(frozen=True)
class _Context:
    found: Answers
    seeds: Sequence[int]
    settings: Sequence[Setting]
    rank_eps: float | None
    reference: str | None
    outcomes: Outcomes
    certificates: Certificates


def _remembering(results: Results) -> ReadColumns:
    """Per-image outcomes, not read again soon after: a row needs those of its model twice."""
    by_id = {record.id: record for record in results.records}

    @lru_cache(maxsize=2000)
    def read(identity: str) -> Columns:
        return results.columns(by_id[identity])

    return lambda record: read(record.id)


def _rank_eps(
    budgets: Sequence[float], asked: float | None, protocol: Protocol | None
) -> float | None:
    if asked is not None and budgets and asked not in budgets:
        there = ", ".join(f"{eps:g}" for eps in sorted(set(budgets)))
        raise UsageError(f"nothing was attacked at ε = {asked:g}: rank at one of {there}")
    preferred = RANKING_EPS if protocol is None else protocol.ranking_eps
    return ranking_eps(budgets, preferred if asked is None else asked)


def _reference(labels: Sequence[str], protocol: Protocol | None) -> str | None:
    first = protocol.first_attack if protocol else None
    return first if first in labels else min(labels, default=None)


def _models(records: Iterable[Record], results: Results) -> tuple[ModelFacts, ...]:
    """Every model that a record names, by family, then by name."""
    names = {record.task.model.name for record in records}
    names |= {record.task.source.name for record in records if record.task.kind == "transfer"}
    images = {r.task.model.name: r.task.data.images for r in records if r.task.kind == "training"}
    facts = []
    for name in names:
        card = results.cards.get(name)
        facts.append(ModelFacts(name, card.family if card else "unknown", card, images.get(name)))
    return tuple(sorted(facts, key=lambda model: (model.family, model.name)))


def _settings(found: Answers, kind: str) -> tuple[Setting, ...]:
    """The attacks and budgets that tasks of a kind were made with, sorted."""
    asked = {
        Setting(question.attack, question.eps)
        for question in found
        if question.kind == kind and question.attack is not None and question.eps is not None
    }
    return tuple(sorted(asked))


def _without_gradients(records: Iterable[Record]) -> tuple[str, ...]:
    attacks = [r for r in records if r.task.kind == "attack" and r.status == "done"]
    with_some = {record.label for record in attacks if record.cost.gradient}
    return tuple(sorted({str(r.label) for r in attacks if r.label not in with_some}))


def _row(model: ModelFacts, own: Sequence[Record], context: _Context) -> Row:
    name, seeds, settings = model.name, context.seeds, context.settings
    found, outcomes, certificates = context.found, context.outcomes, context.certificates
    asked = {
        s: found.get(Question("attack", name, attack=s.attack, eps=s.eps), {}) for s in settings
    }
    worst_at = {eps: outcomes.score(name, eps, seeds) for eps in sorted({s.eps for s in settings})}
    raised = flags(
        name,
        own,
        stochastic=model.card is not None and model.card.stochastic,
        reference=context.reference,
    )
    trained = tuple(sorted({record.task.model.seed for record in own}))
    attacks = sorted({setting.attack for setting in settings})
    return Row(
        rank=None,
        obstacles=obstacles(own, raised, attacks, context.rank_eps, trained),
        model=model,
        seeds=trained,
        clean=_or_elsewhere(
            _clean([*asked.values()] if settings else _radii(name, found), seeds), name, found
        ),
        robust={setting: seed_values(asked[setting], seeds, robust) for setting in settings},
        attacked={s: seed_values(asked[s], seeds, adversarial) for s in settings},
        worst=SeedValues() if context.rank_eps is None else worst_at[context.rank_eps],
        worst95=None,
        worst_at=worst_at,
        own=SeedValues() if context.rank_eps is None else outcomes.own(name, context.rank_eps),
        bounds=_bounds(name, found, seeds),
        flags=raised,
        notes=gather_notes([*_elsewhere(model, own), *_undone(own, certificates)]),
        certified=certificates.certified(name, seeds),
        probabilistic=certificates.probabilistic(name, seeds),
    )


def _undone(own: Sequence[Record], certificates: Certificates) -> Iterator[tuple[str, str, int]]:
    """What of a model is not done, and is said nowhere else."""
    for record in own:
        if (
            record.status != "done"
            and record.task.kind in ("training", "checks", "radii")
            and not certificates.shows(record)
        ):
            yield why(record, f"{record.task.kind}: ")


def _elsewhere(model: ModelFacts, own: Sequence[Record]) -> Iterator[tuple[str, str, int]]:
    """That a model was attacked on another exact engine than its own."""
    usual = model.card.engine if model.card else None
    for record in own:
        if record.task.kind == "attack" and usual and record.task.engine is not None:
            name = ModelName(model.name, record.task.engine.name)
            if record.task.engine.name != usual:
                yield "on another engine", f"attacked as {name}", record.task.model.seed


def _radii(model: str, found: Answers) -> list[Mapping[int, Record]]:
    return [of for q, of in found.items() if (q.kind, q.model) == ("radii", model)]


def _clean(asked: Sequence[Mapping[int, Record]], seeds: Sequence[int]) -> SeedValues:
    # Each attack and budget, or certifier, reports the clean accuracy again. Where scores are exact
    # the values agree; where they are sampled, their mean is the better estimate.
    values: dict[int, list[float]] = {}
    notes: list[tuple[str, str, int]] = []
    for by_seed in asked:
        for seed, record in by_seed.items():
            if record.status == "done":
                values.setdefault(seed, []).append(clean(record))
            else:
                notes.append(why(record))
    notes += [("missing", "no record", seed) for seed in seeds if not any(seed in a for a in asked)]
    return SeedValues(
        by_seed=tuple((seed, mean_std(found)[0]) for seed, found in sorted(values.items())),
        notes=gather_notes(note for note in notes if note[2] not in values),
    )


def _or_elsewhere(values: SeedValues, model: str, found: Answers) -> SeedValues:
    """Clean accuracies, where no attack was done as transfers and certificates report them, and
    else as the training does, of the whole test split."""
    known = dict(values.by_seed)
    transferred = [of for q, of in found.items() if (q.kind, q.model) == ("transfer", model)]
    for by_seed in (*transferred, *_radii(model, found)):
        for seed, record in by_seed.items():
            if record.status == "done":
                known.setdefault(seed, clean(record))
    notes = list(values.notes)
    for seed, record in found.get(Question("training", model), {}).items():
        if seed not in known and record.status == "done" and training(record).test_accuracy:
            known[seed] = training(record).test_accuracy[-1]
            notes += gather_notes([("no attack done", "clean accuracy is the training's", seed)])
    return SeedValues(by_seed=tuple(sorted(known.items())), notes=tuple(notes))


def _bounds(model: str, found: Answers, seeds: Sequence[int]) -> tuple[Bound, ...]:
    asked = {
        question.certifier: by_seed
        for question, by_seed in found.items()
        if question.kind == "lipschitz" and question.model == model
    }
    if len(asked) > 1:
        asked.pop(None, None)  # that no certifier covered the model once is no longer so
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
        bound=seed_values(by_seed, seeds, lambda record: lipschitz(record).bound),
        sampled=seed_values(by_seed, seeds, lambda record: lipschitz(record).sampled_jacobian),
        on_margins=seed_values(by_seed, seeds, _on_margins),
        least_norm=max((metrics.least_norm for metrics in done), default=0.0),
        baseline=any(metrics.baseline for metrics in done),
    )


def _on_margins(record: Record) -> float:
    metrics = lipschitz(record)
    return TO_MARGIN[metrics.scope] * metrics.bound


def _curve(model: str, found: Answers) -> Curve:
    by_seed = found.get(Question("training", model), {})
    done = {s: r for s, r in sorted(by_seed.items()) if r.status == "done"}
    curves = ((seed, tuple(training(record).test_accuracy)) for seed, record in done.items())
    return Curve(model, tuple((seed, curve) for seed, curve in curves if curve))
