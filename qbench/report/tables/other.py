"""Paired tests, flags, and engines that are not exact."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.board import Board
from qbench.report.flags import Flag
from qbench.report.significance import LEVEL, Comparison
from qbench.report.table import Cell, Table, left, number, right, score, text
from qbench.report.text import listed, p_value
from qbench.text import one_line


def more_robust_than(board: Board) -> Table:
    """Which models are more robust than which others, as far as paired tests allow."""
    images = board.comparisons[0].images
    ranked = [row for row in board.rows if row.kept is not None]
    place = {row.model.name: number for number, row in enumerate(ranked)}
    proved: dict[str, list[Comparison]] = {}
    for one in board.comparisons:
        if one.p_holm < LEVEL:
            proved.setdefault(one.first, []).append(one)
    rows: list[Sequence[Cell]] = []
    for row in ranked:
        beaten = sorted(proved.get(row.model.name, []), key=lambda one: place[one.second])
        names = ", ".join(one.second for one in beaten)
        rows.append(
            [text(row.model.name), text(f"{row.kept} of {images}"), text(names, whole=True)]
        )
    more = f"More robust than (Holm-corrected p < {LEVEL:g})"
    return Table(left("Model") + right("Images kept") + left(more), rows)


def comparisons(board: Board) -> Table:
    """Every test."""
    rows: list[Sequence[Cell]] = [
        [
            text(one.first),
            text(one.second),
            number(one.only_first, "d"),
            number(one.only_second, "d"),
            text(p_value(one.p)),
            text(p_value(one.p_holm)),
        ]
        for one in board.comparisons
    ]
    heads = right("Only the first keeps", "Only the other keeps", "p", "p (Holm)")
    return Table(left("Model", "Other") + heads, rows, f"Every test ({len(rows)})")


def flags(raised: Sequence[Flag]) -> Table:
    """For which models and seeds a flag was raised, and the numbers behind it."""
    rows: list[Sequence[Cell]] = []
    for one in raised:
        numbers = [f"{name}: {value:.3f}" for name, value in one.numbers]
        evidence = "; ".join([*numbers, *map(one_line, one.details)])
        rows.append([text(one.model), text(listed(one.seeds)), text(evidence, whole=True)])
    return Table(left("Model", "Seeds", "Behind it"), rows)


def noisy_engines(board: Board) -> Table:
    """Every model on engines that are not exact, unranked."""
    budgets = sorted({eps for row in board.noisy for eps in row.worst})
    signal = any(row.signal.by_seed for row in board.noisy)
    columns = left("Model", "Kind", "Engine") + right("Shots") + left("Attacks saw")
    columns += right("Images", "Clean", *[f"Worst case, ε = {eps:g}" for eps in budgets])
    columns += right(*["Signal scale s"] * signal)
    rows: list[Sequence[Cell]] = []
    for row in board.noisy:
        ideal = row.attacks_saw == "ideal"
        line: list[Cell] = [
            text(row.model, notes=row.notes),
            text(row.kind),
            text(", ".join([row.engine, *row.mitigation])),
            number(row.shots, "d"),
            text("the ideal simulator" if ideal else "the engine"),
            number(row.images, "d"),
            score(row.clean),
        ]
        line += [score(row.worst.get(eps)) for eps in budgets]
        rows.append([*line, *[score(row.signal)] * signal])
    return Table(columns, rows)


def hardware(board: Board) -> list[tuple[str, str, str]]:
    """Model, engine and facts of every row that ran on hardware."""
    found = []
    for row in board.noisy:
        if row.kind == "hardware":
            facts = [f"run {', '.join(row.dates)}"] if row.dates else []
            facts += [f"calibrated {', '.join(row.calibrated)}"] if row.calibrated else []
            facts += [f"mitigation: {', '.join(row.mitigation)}"] if row.mitigation else []
            facts += [f"jobs {', '.join(row.jobs)}"]
            found.append((row.model, row.engine, "; ".join(facts)))
    return found
