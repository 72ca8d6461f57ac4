"""Signs that an evaluation overstates robustness: each flag derived from records, in one place.

The signs are those of Carlini et al. 2019 (*On Evaluating Adversarial Robustness*,
arXiv:1902.06705) and Pintor et al. 2022 (*Indicators of Attack Failure*, arXiv:2106.09947). A flag
changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from qbench.records.record import ChecksMetrics, Record
from qbench.records.statistics import mean_std
from qbench.report.questions import grouped, robust

TOLERANCE = 0.01  # one point of accuracy
WITHOUT_GRADIENT = 0.1  # share of images above which attacks by gradients are doubtful


class Meaning(NamedTuple):
    """What a flag says, and what to do about it."""

    sign: str
    remedy: str


MEANINGS: Mapping[str, Meaning] = {
    "attack-rejected": Meaning(
        "What an attack returned left the ball or the box, was not finite, or had another shape, "
        "and was not counted.",
        "Correct the attack; the worst case is over the others alone.",
    ),
    "zero-gradients": Meaning(
        "The loss has no gradient at more than a tenth of the images, so attacks that follow it "
        "stand still there.",
        "Attack another loss than cross-entropy, or without gradients.",
    ),
    "unstable-outputs": Meaning(
        "Two passes over one image differ.",
        "Declare the model stochastic, so that it is attacked and scored through the mean of "
        "several passes.",
    ),
    "black-box-stronger": Meaning(
        "An attack without gradients breaks more images than each of those with them: their budget "
        "is too small, or the gradients mislead.",
        "Trust the worst case only; add steps and restarts, and look for saturation, rounding or a "
        "wrong gradient.",
    ),
    "transfer-stronger": Meaning(
        "Images made for another model break more images than the same attack on the model itself.",
        "Attack with more restarts or another loss until it no longer holds.",
    ),
    "eps-not-monotone": Meaning(
        "Accuracy under one attack rises with ε, though every smaller perturbation is allowed.",
        "Give the attack more steps or a better step size at the larger budget.",
    ),
    "steps-not-monotone": Meaning(
        "Twice the steps break fewer images.",
        "Keep the best step of each image, and let the step size fall.",
    ),
    "restarts-gain": Meaning(
        "Three restarts more break more than one image in a hundred: the budget of the probed "
        "attack is too small.",
        "Rank by a stronger attack, or raise its restarts.",
    ),
    "large-eps-not-chance": Meaning(
        "Accuracy stays above chance where every image may become any other.",
        "The attack does not find what is there for certain: distrust its numbers.",
    ),
}


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


class _Probe(NamedTuple):
    raised: Callable[[Mapping[str, float], float], bool]  # of the values, and chance
    shown: Mapping[str, str]  # values behind it, and what they are called


_BASE = {"base": "as attacked"}
_PROBES: Mapping[str, _Probe] = {
    "zero-gradients": _Probe(
        lambda v, _: v.get("zero_gradients", 0.0) > WITHOUT_GRADIENT,
        {"zero_gradients": "images without gradient"},
    ),
    "unstable-outputs": _Probe(
        lambda v, _: v.get("unstable_outputs", 0.0) > 0,
        {"unstable_outputs": "images that differ"},
    ),
    "steps-not-monotone": _Probe(
        lambda v, _: "base" in v and v.get("more_steps", 0.0) > v["base"] + TOLERANCE,
        {**_BASE, "more_steps": "twice the steps"},
    ),
    "restarts-gain": _Probe(
        lambda v, _: "base" in v and v.get("more_restarts", 1.0) < v["base"] - TOLERANCE,
        {**_BASE, "more_restarts": "three restarts more"},
    ),
    "large-eps-not-chance": _Probe(
        lambda v, chance: v.get("large_eps", 0.0) > chance + TOLERANCE,
        {"large_eps": "ε = the whole box"},
    ),
}


def flags(
    model: str, records: Iterable[Record], *, stochastic: bool, reference: str | None
) -> tuple[Flag, ...]:
    """Every flag of a model, in the order of their names.

    What else was run matters as little as can be: probes are tasks of their own, and that
    transferred images or smaller budgets break more is asked of the reference attack alone. Only
    an attack without gradients is compared with all of those that have some.

    Args:
        model: Its name.
        records: Of exact scores; those of other models are passed over.
        stochastic: Whether two passes of the model may differ.
        reference: Label of the attack that stands for all.
    """
    about = sorted((r for r in records if r.task.model.name == model), key=lambda r: r.id)
    done = [r for r in about if r.status == "done" and r.task.kind in ("attack", "transfer")]
    found = [_rejected(model, about), *_probed(model, about, stochastic)]
    for name, pairs in (
        ("black-box-stronger", _without_gradients(done)),
        ("transfer-stronger", _transferred([r for r in done if r.label == reference])),
        ("eps-not-monotone", _rising([r for r in done if r.label == reference])),
    ):
        found.append(_compared(name, model, pairs))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.name))


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


def _probed(model: str, about: Sequence[Record], stochastic: bool) -> list[Flag]:
    probed = [
        (record, record.metrics) for record in about if isinstance(record.metrics, ChecksMetrics)
    ]
    found = []
    for name, probe in _PROBES.items():
        raising = [(r, m) for r, m in probed if probe.raised(m.values, m.chance)]
        if raising and not (stochastic and name == "unstable-outputs"):
            numbers = tuple(
                (shown, mean_std(metrics.values[value] for _, metrics in raising)[0])
                for value, shown in probe.shown.items()
            )
            found.append(Flag(name, model, _seeds([record for record, _ in raising]), numbers))
    return found


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
