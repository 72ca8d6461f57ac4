"""Lipschitz bounds, certifier by certifier, and published baselines beside the others."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.board import Board
from qbench.report.certificate_types import Bound
from qbench.report.seed_values import SeedValues
from qbench.report.table import Cell, Table, left, number, right, score, text
from qbench.report.text import DASH, at_least, spread


def lipschitz(board: Board) -> Table:
    """Every bound beside the largest Jacobian norm seen."""
    limited = any(entry.least_norm for entry in board.bounds)
    columns = left("Model", "Certifier", "Scope") + right("Bound", "Largest Jacobian")
    columns += right("Bound / Jacobian", "Points") + left(*["Holds for"] * limited)
    rows: list[Sequence[Cell]] = []
    for entry in board.bounds:
        line: list[Cell] = [
            text(entry.model),
            text(entry.certifier or ""),
            text(entry.scope or ""),
            score(entry.bound, digits=2),
            score(entry.sampled, digits=2, notes=False),
            number(entry.slack, ".1f"),
            number(entry.points, "d"),
        ]
        rows.append([*line, *[text(at_least(entry.least_norm))] * limited])
    return Table(columns, rows)


def baselines(board: Board) -> Table | None:
    """Published baselines beside the tightest other certifier, on one scale."""
    rows = {row.model.name: row for row in board.rows}
    shown = [rows[model.name] for model in board.models if rows[model.name].bounds]
    pairs = [(row.tightest_of(baseline=True), row.tightest_of(baseline=False)) for row in shown]
    if not any(base for base, _ in pairs) or not any(other for _, other in pairs):
        return None
    lines: list[Sequence[Cell]] = []
    for row, (base, other) in zip(shown, pairs, strict=True):
        last = other or base
        sampled = DASH if last is None else f"{spread(last.sampled, 2)} ({last.scope})"
        line: list[Cell] = [text(row.model.name), *_certifier(base), *_certifier(other)]
        lines.append([*line, score(_ratio(base, other), digits=2), text(sampled)])
    columns = left("Model", "Baseline") + right("Bound on margins") + left("Tightest other")
    columns += right("Bound on margins", "Baseline / other", "Largest Jacobian")
    return Table(columns, lines)


def _certifier(entry: Bound | None) -> list[Cell]:
    if entry is None:
        return [text(""), text("")]
    where = f", {at_least(entry.least_norm)}" if entry.least_norm else ""
    name = f"{entry.certifier} ({entry.scope}{where})"
    return [text(name), score(entry.on_margins, digits=2, notes=False)]


def _ratio(base: Bound | None, other: Bound | None) -> SeedValues:
    if base is None or other is None:
        return SeedValues()
    below = dict(other.on_margins.by_seed)
    ratios = [
        (seed, bound / below[seed]) for seed, bound in base.on_margins.by_seed if below.get(seed)
    ]
    return SeedValues(tuple(ratios))
