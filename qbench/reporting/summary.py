"""The leaderboard as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from qbench.records import Record
from qbench.reporting.board import Board, Row
from qbench.reporting.outcomes import Images
from qbench.reporting.table import PREFERRED_EPS, collect
from qbench.reporting.text import (
    DASH,
    Footnotes,
    listed,
    mean,
    norm,
    one_line,
    short,
    spread,
)

_WIDTH = 118
_LONGEST_NAME = 20

Table = tuple[list[str], list[list[str]]]


def summary_table(
    records: Sequence[Record], images: Images, preferred_eps: float = PREFERRED_EPS
) -> str:
    """Ranks and accuracies, and why what is missing is missing; no trailing newline.

    Args:
        records, images, preferred_eps: As for `leaderboard.build`.

    Raises:
        StoreError: The records do not belong together.
    """
    from tabulate import tabulate

    board = collect(records, images, preferred_eps, transferred=False)
    notes = Footnotes(board.subject.seeds, plain=True)
    tables = [_attacked(board, notes)] if board.settings else _certified(board, notes)
    parts = []
    for head, rows in tables or ([] if board.elsewhere else [_attacked(board, notes)]):
        align = ["left" if name in ("Model", "Radii") else "right" for name in head]
        parts += ["", tabulate(rows, head, "simple", disable_numparse=True, colalign=align)]
    if board.elsewhere:
        head, rows = _elsewhere(board, notes)
        align = ["left"] * 4 + ["right"] * (len(head) - 4)
        parts += ["", tabulate(rows, head, "simple", disable_numparse=True, colalign=align)]
    parts = parts[1:]
    for lines in (notes.lines(), _missing(board), _flags(board)):
        if lines:
            parts += ["", *[_wrapped(line) for line in lines]]
    return "\n".join(parts)


def _attacked(board: Board, notes: Footnotes) -> Table:
    """Every model's rank and accuracies."""
    flagged = any(row.findings for row in board.rows)
    head = ["Rank", "Model", "Clean", *_scored(board)]
    head += [f"Certified ε={board.rank_eps:g}"] if _proved(board) else []
    head += ["Lipschitz"] if board.bounds and not board.several else []
    head += ["Flags"] if flagged else []
    return head, [_line(board, row, notes, flagged) for row in board.rows]


def _elsewhere(board: Board, notes: Footnotes) -> Table:
    """Models on engines that are not exact."""
    budgets = sorted({eps for row in board.elsewhere for eps in row.worst})
    head = ["Model", "Engine", "Shots", "Attacks saw", "Clean"]
    head += [f"Worst ε={eps:g}" for eps in budgets]
    rows = [
        [
            notes.mark(short(row.model, _LONGEST_NAME), row.notes),
            short(one_line(", ".join([row.engine, *row.mitigation])), 2 * _LONGEST_NAME),
            DASH if row.shots is None else str(row.shots),
            row.crafted_on,
            spread(row.clean),
            *[spread(row.worst[eps]) if eps in row.worst else DASH for eps in budgets],
        ]
        for row in board.elsewhere
    ]
    return head, rows


def _certified(board: Board, notes: Footnotes) -> list[Table]:
    """What is proved where nothing was attacked: mean certified accuracies, a table a norm."""
    tables = []
    for about in ("linf", "l2"):
        rows: list[list[str]] = []
        budgets: list[float] = []
        for row in board.rows:
            name = notes.mark(short(row.model.name, _LONGEST_NAME), row.notes)
            proofs = [("proved", one.accuracy) for one in row.certified if one.norm == about]
            proofs += [
                (f"{short(one_line(one.certifier), 16)} {one.confidence:g}", one.accuracy)
                for one in row.probabilistic
                if one.norm == about
            ]
            for by, accuracy in proofs:
                budgets = list(accuracy)
                why = {note for score in accuracy.values() for note in score.notes}
                shown = [mean(score) for score in accuracy.values()]
                rows.append([name, notes.mark(by, sorted(why)), spread(row.clean), *shown])
        if rows:
            head = ["Model", "Radii", "Clean", *[f"{norm(about)} ε={eps:g}" for eps in budgets]]
            tables.append((head, rows))
    return tables


def _proved(board: Board) -> bool:
    return board.rank_eps in board.certified_budgets(board.norm)


def _scored(board: Board) -> list[str]:
    if not board.several:
        return [f"{short(one_line(s.attack), 12)} ε={s.eps:g}" for s in board.settings]
    plain = [s for s in board.plain if s.eps == board.rank_eps]
    return [
        *[f"Worst ε={eps:g}" for eps in board.budgets],
        *[f"{short(one_line(s.attack), 12)} ε={s.eps:g}" for s in plain],
    ]


def _line(board: Board, row: Row, notes: Footnotes, flagged: bool) -> list[str]:
    longest = _LONGEST_NAME - 5 * _proved(board)
    name = short(row.model.name, longest) if board.several else row.model.name
    line = [DASH if row.rank is None else str(row.rank), notes.mark(name, row.notes)]
    line.append(notes.mark(spread(row.clean), row.clean.notes))
    if board.several:
        # Which attacks are missing, and why, is listed below once instead of in every cell.
        line += [_starred(spread(row.worst_at[e]), row.worst_at[e].notes) for e in board.budgets]
        plain = [row.robust[s] for s in board.plain if s.eps == board.rank_eps]
        line += [_starred(spread(score), score.notes) for score in plain]
        line += _certified_cell(board, row, notes)
    else:
        scores = [row.robust[setting] for setting in board.settings]
        line += [notes.mark(spread(score), score.notes) for score in scores]
        line += _certified_cell(board, row, notes)
        if board.bounds:
            bound = row.tightest.bound if row.tightest else None
            line.append(notes.mark(spread(bound, 2), bound.notes) if bound else DASH)
    return [*line, f"⚑ {len(row.findings)}" if row.findings else ""] if flagged else line


def _certified_cell(board: Board, row: Row, notes: Footnotes) -> list[str]:
    proved = row.proved(board.norm)
    if proved is None or not _proved(board):
        return []
    score = proved.accuracy[board.rank_eps or 0.0]
    return [notes.mark(spread(score), score.notes)]


def _starred(shown: str, notes: Sequence[object]) -> str:
    return f"{shown} *" if notes else shown


def _missing(board: Board) -> list[str]:
    """Why attacks have no result, each reason once with all that it holds for."""
    if not board.several:
        return []
    found: dict[tuple[str, str, str], set[str]] = {}
    for row in board.rows:
        for setting, score in row.robust.items():
            for note in score.notes:
                why = (setting.attack, note.status, note.reason)
                found.setdefault(why, set()).add(row.model.name)
    lines = []
    for (attack, status, reason), models in sorted(found.items()):
        which = "every model" if len(models) == len(board.models) else ", ".join(sorted(models))
        lines.append(f"* {one_line(attack)} {status} ({which}): {one_line(reason)}")
    return lines


def _flags(board: Board) -> list[str]:
    raised: dict[str, list[str]] = {}
    for model in board.models:
        for row in board.rows:
            for one in row.findings if row.model == model else ():
                every = one.seeds == row.seeds
                which = "" if every else f" (seed {listed(one.seeds)})"
                raised.setdefault(one.flag, []).append(f"{model.name}{which}")
    return [f"⚑ {flag}: {', '.join(models)}" for flag, models in sorted(raised.items())]


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
