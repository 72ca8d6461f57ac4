"""Transfer: averages within and across families, what it adds, and the matrices."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.board import Board
from qbench.report.table import Cell, Table, left, number, right, score, text
from qbench.report.transfer import Transfer


def matrix(transfer: Transfer) -> Table:
    """Every target (column) on images made for every source (row), the attack itself in bold."""
    rows: list[Sequence[Cell]] = [
        [
            text(source),
            *[
                score(transfer.entries[source, target], std=False, bold=source == target)
                for target in transfer.models
            ],
        ]
        for source in transfer.models
    ]
    title = f"{transfer.setting.attack} at ε = {transfer.setting.eps:g}"
    return Table(left("made for ↓, shown to →") + right(*transfer.models), rows, title)


def averages(board: Board) -> Table | None:
    """Means over pairs of two different models, by families; None without such pairs."""
    if not any(entry.by_seed for t in board.transfers for entry in t.averages.values()):
        return None
    groups = [group for group, count in board.transfers[0].pairs.items() if count]
    several = len({transfer.setting.eps for transfer in board.transfers}) > 1
    rows: list[Sequence[Cell]] = []
    for one in board.transfers:
        name = one.setting.attack + (f", ε = {one.setting.eps:g}" if several else "")
        rows.append([text(name), *[score(one.averages[group]) for group in groups]])
    heads = [f"{source} → {target}" for source, target in groups]
    return Table(left("Attack") + right(*heads), rows)


def added(board: Board) -> Table | None:
    """Models of which images made for others, or sent, break more than the attacks on them."""
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        own, both = row.own.mean, row.worst.mean
        if own is not None and both is not None and both < own:
            cells = score(row.own), score(row.worst, notes=False)
            rows.append([text(row.model.name), *cells, number(both - own, "+.3f")])
    heads = right("Attacks on the model", "All on record", "Difference")
    return Table(left("Model") + heads, rows) if rows else None
