"""The flags raised for a model, with the numbers behind them and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from qbench.metrics import mean_std
from qbench.records import DiagnosisMetrics, Flag, Record
from qbench.reporting.board import Finding
from qbench.reporting.select import grouped
from qbench.reporting.values import metrics, robust


class Meaning(NamedTuple):
    """What a flag says, and what to do about it."""

    sign: str
    remedy: str


MEANINGS: Mapping[Flag, Meaning] = {
    "attack-rejected": Meaning(
        "What an attack returned left the ball or the box, was not finite, or had another shape, "
        "and was not counted.",
        "Correct the attack; the worst case is over the others alone.",
    ),
    "zero-gradients": Meaning(
        "The loss has no gradient at more than a tenth of the images, so attacks that follow it "
        "stand still there.",
        "Attack the margin or DLR instead of cross-entropy, or without gradients (`square`).",
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
        "Images made for another model break more images than the attacks on the model itself.",
        "Attack with more restarts or another loss until it no longer holds.",
    ),
    "eps-not-monotone": Meaning(
        "Accuracy under one attack rises with ε, though every smaller perturbation is allowed.",
        "Give the attack more steps or a better step size at the larger budget.",
    ),
    "steps-not-monotone": Meaning(
        "Four times the steps break fewer images.",
        "Keep the best step of each image, and let the step size fall.",
    ),
    "restarts-gain": Meaning(
        "Four more restarts break more than one image in a hundred: the budget of the probed "
        "attack is too small.",
        "Rank by a stronger attack (`standard`), or raise `restarts`.",
    ),
    "large-eps-not-chance": Meaning(
        "Accuracy stays above chance where every image may become any other.",
        "The attack does not find what is there for certain: distrust its numbers.",
    ),
}
# The values of a diagnosis that each flag rests on, and what they are called.
_VALUES: Mapping[str, str] = {
    "base": "as attacked",
    "more_steps": "4 × the steps",
    "more_restarts": "4 restarts more",
    "large_eps": "ε = the whole box",
    "zero_gradients": "images without gradient",
    "unstable_outputs": "images that differ",
}
_BEHIND: Mapping[Flag, tuple[str, ...]] = {
    "zero-gradients": ("zero_gradients",),
    "unstable-outputs": ("unstable_outputs",),
    "steps-not-monotone": ("base", "more_steps"),
    "restarts-gain": ("base", "more_restarts"),
    "large-eps-not-chance": ("large_eps",),
}


def findings(model: str, records: Sequence[Record], rank_eps: float | None) -> tuple[Finding, ...]:
    """Every flag raised in a record of a model, in the order of their names.

    Args:
        model: Its name.
        records: Every one with this model as the target.
        rank_eps: The budget at which transferred images are compared.
    """
    about = sorted(records, key=lambda r: r.key)
    raised: dict[Flag, list[Record]] = {}
    for record in about:
        for flag in record.flags:
            raised.setdefault(flag, []).append(record)
    return tuple(_finding(flag, model, raised[flag], about, rank_eps) for flag in sorted(raised))


def _finding(
    flag: Flag,
    model: str,
    raising: Sequence[Record],
    about: Sequence[Record],
    rank_eps: float | None,
) -> Finding:
    seeds = tuple(sorted({record.target.seed for record in raising}))
    if flag == "attack-rejected":
        reasons = sorted({f"{_attack(r)}: {r.reason or 'no reason recorded'}" for r in raising})
        return Finding(flag, model, seeds, details=tuple(reasons))
    if flag in _BEHIND:
        return Finding(flag, model, seeds, _measured(_BEHIND[flag], raising))
    done = [r for r in about if r.status == "done" and r.target.seed in seeds and r.threat_model]
    numbers: list[tuple[str, float]] = []
    if flag == "black-box-stronger":
        numbers = _stronger_without_gradients(done)
    elif flag == "transfer-stronger":
        numbers = _stronger_transferred([r for r in done if _eps(r) == rank_eps])
    elif flag == "eps-not-monotone":
        numbers = _rising(done)
    return Finding(flag, model, seeds, tuple(numbers))


def _measured(names: Iterable[str], raising: Sequence[Record]) -> tuple[tuple[str, float], ...]:
    probes = [metrics(r, DiagnosisMetrics).values for r in raising if r.task == "diagnosis"]
    found = [(name, [v[name] for v in probes if name in v]) for name in names]
    return tuple((_VALUES[name], mean_std(values)[0]) for name, values in found if values)


def _stronger_without_gradients(done: Sequence[Record]) -> list[tuple[str, float]]:
    """The pair of lowest accuracies, with and without gradients, that lie farthest apart."""
    own = [r for r in done if r.task == "robust-accuracy"]
    pairs = []
    for _, records in grouped(own, lambda r: (r.target.seed, _eps(r))):
        white = min((r for r in records if r.cost.gradient), key=robust, default=None)
        black = min((r for r in records if not r.cost.gradient), key=robust, default=None)
        if white and black:
            pairs.append((white, black))
    return _farthest(pairs)


def _stronger_transferred(done: Sequence[Record]) -> list[tuple[str, float]]:
    pairs = []
    for _, records in grouped(done, lambda r: (r.target.seed, _eps(r))):
        own = [r for r in records if r.task == "robust-accuracy" and r.cost.gradient]
        moved = [r for r in records if r.task == "transfer-accuracy"]
        if own and moved:
            pairs.append((min(own, key=robust), min(moved, key=robust)))
    return _farthest(pairs)


def _rising(done: Sequence[Record]) -> list[tuple[str, float]]:
    own = [r for r in done if r.task == "robust-accuracy"]
    pairs: list[tuple[Record, Record]] = []
    for _, records in grouped(own, lambda r: (r.attack and r.attack.label, r.target.seed)):
        rising = sorted(records, key=_eps)
        pairs += pairwise(rising)
    return _farthest([(larger, smaller) for smaller, larger in pairs])


def _farthest(pairs: Sequence[tuple[Record, Record]]) -> list[tuple[str, float]]:
    """What the first of a pair leaves and the second breaks, where that is most."""
    if not pairs:
        return []
    pair = max(pairs, key=lambda found: robust(found[0]) - robust(found[1]))
    return [(f"{_attack(r)} (seed {r.target.seed})", robust(r)) for r in reversed(pair)]


def _eps(record: Record) -> float:
    return record.threat_model.eps if record.threat_model else 0.0


def _attack(record: Record) -> str:
    label = record.attack.label if record.attack else "no attack"
    source = f" (made for {record.source.model})" if record.source else ""
    return f"{label}{source} at ε = {_eps(record):g}"
