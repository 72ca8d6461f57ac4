"""Signs that an evaluation overstates robustness: each flag derived from records, in one place.

The signs are those of Carlini et al. 2019 (*On Evaluating Adversarial Robustness*,
arXiv:1902.06705) and Pintor et al. 2022 (*Indicators of Attack Failure*, arXiv:2106.09947), and
what the checks measure. A flag changes no number; a blocking one takes the model out of the ranking
(see `flag_meanings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from qbench.records.record import AccuracyMetrics, ChecksMetrics, FreshMetrics, Record
from qbench.records.statistics import mean_std
from qbench.report.flag_meanings import MEANINGS
from qbench.report.questions import grouped, robust

TOLERANCE = 0.01  # one point of accuracy
SOME = 0.05  # share of images above which scores that should be the same are taken to differ
FLAT = 0.1  # share of images without a gradient above which attacks by gradients are doubtful
WRONG = 0.2  # the same for gradients that disagree: at a kink, honest ones do
CHANCE_Z = 3.0  # standard deviations by which new images must be worse


@dataclass(frozen=True)
class Flag:
    """A flag raised for one model: for which seeds, and what was measured there.

    `numbers` are shares of images by what they are, means over the flagged seeds or those of the
    seed that shows it most; `details` are words for what is not a number.
    """

    name: str
    model: str
    seeds: tuple[int, ...]
    numbers: tuple[tuple[str, float], ...] = ()
    details: tuple[str, ...] = ()

    @property
    def blocking(self) -> bool:
        """Whether the model can have no rank."""
        return MEANINGS[self.name].blocking


class _Check(NamedTuple):
    raised: Callable[[Mapping[str, float], float], bool]  # of the values, and chance
    value: str  # behind it
    shown: str  # what that is called


def _above(value: str, least: float) -> Callable[[Mapping[str, float], float], bool]:
    return lambda values, _: values.get(value, 0.0) > least


_CHECKS: Mapping[str, _Check] = {
    "bad-gradients": _Check(_above("bad_gradients", 0), "bad_gradients", "images"),
    "batch-dependence": _Check(_above("batch_dependence", SOME), "batch_dependence", "images"),
    "call-dependence": _Check(_above("call_dependence", SOME), "call_dependence", "images"),
    "changed-code": _Check(_above("code_changed", 0), "code_changed", "changed"),
    "changed-settings": _Check(_above("settings_changed", 0), "settings_changed", "changed"),
    "flat-gradients": _Check(_above("flat_gradients", FLAT), "flat_gradients", "images"),
    "input-changed": _Check(_above("input_changed", 0), "input_changed", "changed"),
    "large-eps-not-chance": _Check(
        lambda values, chance: values.get("large_eps", 0.0) > chance + TOLERANCE,
        "large_eps",
        "ε = the whole box",
    ),
    "low-precision": _Check(_above("low_precision", 0), "low_precision", "low"),
    "mode-changed": _Check(_above("mode_changed", 0), "mode_changed", "changed"),
    "no-gradient": _Check(_above("no_gradient", 0), "no_gradient", "images"),
    "not-finite": _Check(_above("not_finite", 0), "not_finite", "images"),
    "state-changed": _Check(_above("state_changed", 0), "state_changed", "changed"),
    "undeclared-randomness": _Check(_above("unstable_outputs", 0), "unstable_outputs", "images"),
    "wrong-gradients": _Check(_above("wrong_gradients", WRONG), "wrong_gradients", "images"),
}


def flags(
    model: str, records: Iterable[Record], *, stochastic: bool, reference: str | None
) -> tuple[Flag, ...]:
    """Every flag of a model, in the order of their names.

    What else was run matters as little as can be: checks are tasks of their own, and that
    transferred images or smaller budgets break more is asked of the reference attack alone. Only
    an attack without gradients is compared with all of those that have some.

    Args:
        model: Its name.
        records: Of exact scores; those of other models are passed over.
        stochastic: Whether the model is declared to give other scores in every pass.
        reference: Label of the attack that stands for all.
    """
    about = sorted((r for r in records if r.task.model.name == model), key=lambda r: r.id)
    done = [r for r in about if r.status == "done" and r.task.kind in ("attack", "transfer")]
    found = [_rejected(model, about), *_checked(model, about, stochastic)]
    found += [_evidence(model, done, stochastic), _seen(model, about)]
    for name, pairs in (
        ("black-box-stronger", _without_gradients(done)),
        ("transfer-stronger", _transferred([r for r in done if r.label == reference])),
        ("eps-not-monotone", _rising([r for r in done if r.label == reference])),
    ):
        found.append(_compared(name, model, pairs))
    by_name = {one.name: one for one in found if one is not None}
    by_name |= _masked(model, by_name)
    return tuple(by_name[name] for name in sorted(by_name))


def _masked(model: str, raised: Mapping[str, Flag]) -> dict[str, Flag]:
    """Flat gradients, and a sign that they hide what other attacks find."""
    signs = ("transfer-stronger", "black-box-stronger", "large-eps-not-chance")
    evidence = [raised[name] for name in signs if name in raised]
    if "flat-gradients" not in raised or not evidence:
        return {}
    flat = raised["flat-gradients"]
    numbers = [("flat gradients", flat.numbers[0][1])]
    numbers += [number for one in evidence for number in one.numbers]
    seeds = {seed for one in (flat, *evidence) for seed in one.seeds}
    return {
        "masked-gradients": Flag("masked-gradients", model, tuple(sorted(seeds)), tuple(numbers))
    }


def _rejected(model: str, about: Sequence[Record]) -> Flag | None:
    rejected = [
        record
        for record in about
        if record.task.kind == "attack"
        and record.failure is not None
        and record.failure.type == "VerificationError"
    ]
    reasons = {f"{_attack(record)}: {record.reason}" for record in rejected}
    if not rejected:
        return None
    return Flag("attack-rejected", model, _seeds(rejected), details=tuple(sorted(reasons)))


def _checked(model: str, about: Sequence[Record], stochastic: bool) -> list[Flag]:
    checked = [
        (record, record.metrics) for record in about if isinstance(record.metrics, ChecksMetrics)
    ]
    found = []
    for name, check in _CHECKS.items():
        raising = [(r, m) for r, m in checked if check.raised(m.values, m.chance)]
        if raising and not (stochastic and name == "undeclared-randomness"):
            value = mean_std(metrics.values[check.value] for _, metrics in raising)[0]
            seeds = _seeds([record for record, _ in raising])
            found.append(Flag(name, model, seeds, ((check.shown, value),)))
    return found


def _evidence(model: str, done: Sequence[Record], stochastic: bool) -> Flag | None:
    """What attacks were told and the saved model does not say: scores first, then gradients."""
    if stochastic:
        return None
    own = [(r, r.metrics) for r in done if isinstance(r.metrics, AccuracyMetrics)]
    for name, shown, least, shares in (
        ("changed-answers", "scores", SOME, [m.contradicted for _, m in own]),
        ("wrong-gradients", "gradients", WRONG, [m.wrong_gradients for _, m in own]),
    ):
        raising = [(share, r) for share, (r, _) in zip(shares, own, strict=True) if share > least]
        if raising:
            share, most = max(raising, key=lambda pair: pair[0])
            numbers = ((f"{shown} in {_attack(most)}", share),)
            return Flag(name, model, _seeds([record for _, record in raising]), numbers)
    return None


def _seen(model: str, about: Sequence[Record]) -> Flag | None:
    """Worse on new images than on the protocol's, by more than chance.

    The images are the same for all seeds, so more seeds do not make the difference of two shares
    more certain: its standard deviation is taken as if there were one.
    """
    fresh = [(r, r.metrics) for r in about if isinstance(r.metrics, FreshMetrics)]
    if not fresh:
        return None
    known = min(record.task.data.images for record, _ in fresh)
    new = min(record.task.images for record, _ in fresh if record.task.kind == "fresh")
    for name, frozen, drawn in (
        ("clean", "frozen_clean_accuracy", "clean_accuracy"),
        ("attacked", "frozen_robust_accuracy", "robust_accuracy"),
    ):
        on_known = mean_std(getattr(metrics, frozen) for _, metrics in fresh)[0]
        on_new = mean_std(getattr(metrics, drawn) for _, metrics in fresh)[0]
        pooled = (known * on_known + new * on_new) / (known + new)
        deviation = (pooled * (1 - pooled) * (1 / known + 1 / new)) ** 0.5
        if on_known - on_new > max(CHANCE_Z * deviation, TOLERANCE):
            numbers = ((f"test images, {name}", on_known), (f"new images, {name}", on_new))
            return Flag("seen-images", model, _seeds([record for record, _ in fresh]), numbers)
    return None


def _without_gradients(done: Sequence[Record]) -> list[tuple[Record, Record]]:
    """At each seed and budget, the strongest attack with gradients and the strongest without."""
    own = [record for record in done if record.task.kind == "attack"]
    pairs = []
    for _, records in grouped(own, lambda r: (r.task.model.seed, _eps(r))):
        white = min((r for r in records if r.cost.gradient), key=robust, default=None)
        black = min((r for r in records if not r.cost.gradient), key=robust, default=None)
        if white and black:
            pairs.append((white, black))
    return pairs


def _transferred(done: Sequence[Record]) -> list[tuple[Record, Record]]:
    """At each seed and budget, the attack on the model, and the strongest images for another."""
    pairs = []
    for _, records in grouped(done, lambda r: (r.task.model.seed, _eps(r))):
        own = [r for r in records if r.task.kind == "attack" and r.cost.gradient]
        moved = [r for r in records if r.task.kind == "transfer"]
        if own and moved:
            pairs.append((min(own, key=robust), min(moved, key=robust)))
    return pairs


def _rising(done: Sequence[Record]) -> list[tuple[Record, Record]]:
    """At each seed, the attack at a budget and at the next smaller one."""
    own = [record for record in done if record.task.kind == "attack"]
    pairs: list[tuple[Record, Record]] = []
    for _, records in grouped(own, lambda r: r.task.model.seed):
        ordered = pairwise(sorted(records, key=_eps))
        pairs += [(larger, smaller) for smaller, larger in ordered]
    return pairs


def _compared(name: str, model: str, pairs: Sequence[tuple[Record, Record]]) -> Flag | None:
    """A flag where the second of a pair breaks more images; its numbers, where it is most."""
    raising = [pair for pair in pairs if _gap(pair) > TOLERANCE]
    if not raising:
        return None
    most = max(raising, key=_gap)
    numbers = [(f"{_attack(r)} (seed {r.task.model.seed})", robust(r)) for r in reversed(most)]
    return Flag(name, model, _seeds([own for own, _ in raising]), tuple(numbers))


def _gap(pair: tuple[Record, Record]) -> float:
    # Shares of images: what rounding leaves of an image in a hundred is none.
    return round(robust(pair[0]) - robust(pair[1]), 9)


def _seeds(records: Iterable[Record]) -> tuple[int, ...]:
    return tuple(sorted({record.task.model.seed for record in records}))


def _eps(record: Record) -> float:
    assert record.task.kind in ("attack", "transfer")
    return float(record.task.eps)


def _attack(record: Record) -> str:
    source = f" (made for {record.task.source.name})" if record.task.kind == "transfer" else ""
    return f"{record.label}{source} at ε = {_eps(record):g}"
