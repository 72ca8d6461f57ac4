"""Judged claims for people: a table in the terminal, one claim in full, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qbench.report.text import DASH, escape, table
from qbench_claims.claim import Quantity
from qbench_claims.evidence import Measured
from qbench_claims.verdict import Judgement, Outcome

_INTRODUCTION = """\
# What papers claim, and what we measure

Each claim has a file in `plugins/qbench_claims/ledger`: the paper, the statement in our words, and
the comparisons that judge it. A comparison *holds* where the 95 % interval of its difference lies
on the right side of its limit, *does not hold* where it lies on the other side, and is *undecided*
where the limit lies within. A claim *holds* where every comparison does and none is missing, and
*holds in part* where some do. Intervals are over trained seeds and images, both resampled; unlike
the leaderboard's p-values they are not corrected for the number of comparisons. A
verdict is about the models of this benchmark, on its images and under its attacks, and not about
those of a paper.

`qbench claims` computes all of it from the records of an archive."""


def terminal(judged: Sequence[Judgement]) -> str:
    """One line a claim, under 80 columns."""
    width = max(len(one.claim.name) for one in judged)
    lines = [f"{one.claim.name:<{width}}  {one.verdict}" for one in judged]
    return "\n".join(lines)


def in_full(judgement: Judgement) -> str:
    """A claim with every comparison."""
    claim = judgement.claim
    lines = [f"{claim.name}: {judgement.verdict}", f"{claim.paper}, {claim.reference}"]
    lines += [f"“{claim.statement}”", ""]
    for one in judgement.outcomes:
        lines.append(f"- {one.judged}: {one.rule.says}")
        if one.left is not None:
            lines += [f"    {_side(one.rule.left, one.left)}"]
            if one.right is not None and isinstance(one.rule.right, Quantity):
                lines += [f"    {_side(one.rule.right, one.right)}"]
            lines.append(f"    difference {_difference(one)}, limit {_limit(one)}")
    lines += [f"missing: {what}" for what in judgement.missing]
    return "\n".join(lines)


def page(judged: Sequence[Judgement], command: str) -> str:
    """The page: a table of verdicts, and every comparison."""
    rows = [
        [f"[{escape(one.claim.statement)}](#{_anchor(one)})", escape(one.claim.paper), one.verdict]
        for one in judged
    ]
    parts = [_INTRODUCTION, table(["claim", "paper", "verdict"], rows, ["left"] * 3)]
    for one in judged:
        claim = one.claim
        parts.append(f"## {claim.name}")
        parts.append(
            f"{escape(claim.paper)}, {escape(claim.reference)}: “{escape(claim.statement)}” "
            f"**{one.verdict.capitalize()}.**"
        )
        if one.outcomes:
            parts.append(comparisons(one.outcomes))
        if one.missing:
            parts.append("Missing: " + "; ".join(map(escape, one.missing)) + ".")
    parts.append(f"Computed by `{command}`.")
    return "\n\n".join(parts) + "\n"


def as_json(judged: Sequence[Judgement]) -> list[dict[str, Any]]:
    """Every claim with its numbers, for machines."""
    return [
        {
            "name": one.claim.name,
            "paper": one.claim.paper,
            "reference": one.claim.reference,
            "statement": one.claim.statement,
            "verdict": one.verdict,
            "missing": list(one.missing),
            "comparisons": [
                {
                    "says": outcome.rule.says,
                    "judged": outcome.judged,
                    "difference": None if outcome.left is None else outcome.difference,
                    "low": None if outcome.left is None else outcome.low,
                    "high": None if outcome.left is None else outcome.high,
                }
                for outcome in one.outcomes
            ],
        }
        for one in judged
    ]


def comparisons(outcomes: Sequence[Outcome]) -> str:
    """A table with a row a comparison."""
    rows = []
    for one in outcomes:
        right = one.rule.right if isinstance(one.rule.right, float) else one.right
        rows.append(
            [
                escape(one.rule.says),
                DASH if one.left is None else _number(one.left),
                _number(right) if right is not None else DASH,
                DASH if one.left is None else _difference(one),
                _limit(one),
                one.judged,
            ]
        )
    head = ["comparison", "left", "right", "left − right", "limit", "verdict"]
    return table(head, rows, ["left", "right", "right", "right", "right", "left"])


def _side(asked: Quantity, measured: Measured) -> str:
    return f"{asked}: {_number(measured)} ({len(measured.values)} seeds)"


def _number(value: Measured | float) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    spread = "" if value.spread is None else f" ± {value.spread:.3f}"
    return f"{value.mean:.3f}{spread}"


def _difference(one: Outcome) -> str:
    return f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _limit(one: Outcome) -> str:
    if one.rule.above is not None:
        return f"> {one.rule.above:g}"
    return f"< {one.rule.below:g}"


def _anchor(one: Judgement) -> str:
    return "".join(c for c in one.claim.name.lower().replace(" ", "-") if c.isalnum() or c == "-")
