"""Lipschitz bounds, certifier by certifier, and the reference paper's beside ours."""

from __future__ import annotations

from qbench.reporting.board import Board, Row
from qbench.reporting.claims import Bound
from qbench.reporting.scores import Score
from qbench.reporting.text import DASH, Footnotes, at_least, escape, spread, table


def lipschitz(board: Board, notes: Footnotes) -> list[str]:
    """Every bound beside the largest Jacobian norm seen, and where each certifier comes from."""
    if not board.bounds:
        return []
    limited = any(entry.least_norm for entry in board.bounds)
    head = [
        "Model",
        "Certifier",
        "Scope",
        "Bound",
        "Largest Jacobian",
        "Bound / Jacobian",
        "Points",
    ]
    head += ["Holds for"] if limited else []
    rows = []
    for entry in board.bounds:
        line = [
            escape(entry.model),
            DASH if entry.certifier is None else escape(entry.certifier),
            entry.scope or DASH,
            notes.mark(spread(entry.bound, 2), entry.bound.notes),
            spread(entry.sampled, 2),
            DASH if entry.slack is None else f"{entry.slack:.1f}",
            DASH if entry.points is None else str(entry.points),
        ]
        rows.append([*line, *([at_least(entry.least_norm)] if limited else [])])
    only = (
        " A bound that cannot hold everywhere says for which x it does in every seed."
        if limited
        else ""
    )
    words = (
        "A proven bound on how fast the scores can change with the image (both in the ℓ2 norm), "
        "beside the largest Jacobian norm found at sampled points, which no valid bound can lie "
        "below; mean ± std over seeds, and the smallest ratio of the two of any seed. Scope: "
        "`vector` bounds all scores together, `score` each single score, `margin` every difference "
        f"of two scores; bounds of different scope are not comparable.{only}"
    )
    names = {entry.certifier for entry in board.bounds}
    sources = [(name, source) for name, source in board.subject.certifiers if name in names]
    lines = [f"- {escape(name)}: {escape(source)}" for name, source in sources]
    align = ["left", "left", "left", *["right"] * 4, "left"][: len(head)]
    parts = ["## Lipschitz bounds", words, table(head, rows, align), *_side_by_side(board)]
    return [*parts, "\n".join(lines)] if lines else parts


def _side_by_side(board: Board) -> list[str]:
    """The reference paper's certifiers beside the tightest other one, on one scale."""
    rows = {row.model.name: row for row in board.rows}
    shown = [rows[model.name] for model in board.models if rows[model.name].bounds]
    if not any(row.papers for row in shown) or not any(row.ours for row in shown):
        return []
    words = (
        "**The paper's bounds and ours.** The certifiers of Wendlinger et al. 2024 "
        "([arXiv:2404.16154](https://arxiv.org/abs/2404.16154), Table I) beside the tightest "
        "other one. So that scopes can be compared, every bound is given for the difference of two "
        "scores: a bound L of scope `vector` gives √2 L there, one of scope `score` gives 2 L. "
        "Mean ± std over seeds; the largest Jacobian norm is in the scope of the certifier named "
        "last, and sampled."
    )
    head = ["Model", "Paper's certifier", "Bound on margins", "Our tightest", "Bound on margins"]
    head += ["Paper's / ours", "Largest Jacobian"]
    lines = [_line(row) for row in shown]
    align = ["left", "left", "right", "left", "right", "right", "right"]
    return [words, table(head, lines, align)]


def _line(row: Row) -> list[str]:
    papers, ours = row.papers, row.ours
    last = ours or papers
    return [
        escape(row.model.name),
        *_claim(papers),
        *_claim(ours),
        _ratio(papers, ours),
        DASH if last is None else f"{spread(last.sampled, 2)} ({last.scope})",
    ]


def _claim(entry: Bound | None) -> list[str]:
    if entry is None:
        return [DASH, DASH]
    where = f", {at_least(entry.least_norm)}" if entry.least_norm else ""
    return [f"{escape(entry.certifier or '')} ({entry.scope}{where})", spread(entry.on_margins, 2)]


def _ratio(papers: Bound | None, ours: Bound | None) -> str:
    if papers is None or ours is None:
        return DASH
    below = dict(ours.on_margins.by_seed)
    ratios = [
        (seed, bound / below[seed]) for seed, bound in papers.on_margins.by_seed if below.get(seed)
    ]
    return spread(Score(tuple(ratios)), 2)
