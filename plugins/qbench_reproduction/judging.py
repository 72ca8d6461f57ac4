"""The paper's claims judged three times: under its protocol, under ours, and in the worst case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbench_claims.claim import EVERY, Claim, Quantity, Rule
from qbench_claims.evidence import Evidence
from qbench_claims.verdict import Judgement, judge, untested
from qbench_reproduction.paper import OURS, THEIRS


@dataclass(frozen=True)
class View:
    """How a claim is looked at.

    Args:
        title: Of its column.
        protocol: Whose results decide.
        worst: Whether accuracy under an attack is replaced by that under everything on record.
    """

    title: str
    protocol: str
    worst: bool = False


VIEWS = (
    View("as the authors attack", THEIRS),
    View("PGD of our protocol", OURS),
    View("worst case", OURS, worst=True),
)


@dataclass(frozen=True)
class Viewed:
    """A claim in every view; None where it is not about accuracy under an attack, so that the
    worst case is no other than the view before it."""

    claim: Claim
    judgements: tuple[Judgement | None, ...]


def judged(claims: Sequence[Claim], found: Mapping[str, Evidence]) -> list[Viewed]:
    """Every claim in every view.

    Args:
        claims: The paper's.
        found: Evidence by protocol; what is missing leaves a claim untested.
    """
    return [Viewed(claim, tuple(_judge(claim, view, found) for view in VIEWS)) for claim in claims]


def _judge(claim: Claim, view: View, found: Mapping[str, Evidence]) -> Judgement | None:
    asked = in_worst_case(claim) if view.worst else claim
    if asked is None:
        return None
    asked = asked.model_copy(update={"protocol": view.protocol})
    at = found.get(view.protocol)
    return untested(asked) if at is None else judge(asked, at.measure)


def in_worst_case(claim: Claim) -> Claim | None:
    """The claim with every accuracy under an attack replaced: by that under everything on record,
    or where images were made for another model, under all attacks on that one.

    Returns:
        None where nothing is replaced.
    """
    rules = tuple(
        rule.model_copy(
            update={
                "left": _hardest(rule.left),
                "right": rule.right if isinstance(rule.right, float) else _hardest(rule.right),
            }
        )
        for rule in claim.rule
    )
    distinct = tuple(_distinct(rules))
    return None if rules == claim.rule else claim.model_copy(update={"rule": distinct})


def _hardest(asked: Quantity) -> Quantity:
    if asked.measure == "robust":
        return asked.model_copy(update={"measure": "worst", "attack": None})
    if asked.measure in ("transfer", "transfer-loss"):
        return asked.model_copy(update={"attack": EVERY})
    return asked


def _distinct(rules: Sequence[Rule]) -> list[Rule]:
    """Rules that compare different things: two may have become one."""
    found: dict[object, Rule] = {}
    for rule in rules:
        found.setdefault((rule.left, rule.right, rule.above, rule.below, rule.each), rule)
    return list(found.values())


def sentence(found: Sequence[Viewed]) -> str:
    """How many claims a strong attack leaves as they were, in one sentence."""
    about = [one for one in found if one.judgements[-1] is not None]
    same = [one for one in about if len({j.verdict for j in one.judgements if j}) == 1]
    others = ", ".join(f"`{one.claim.name}`" for one in about if one not in same)
    rest = f"; it depends on the attack for {others}" if others else ""
    return (
        f"{len(about)} of {len(found)} claims are about accuracy under attack. {len(same)} of "
        f"these have one verdict whatever the attack{rest}."
    )
