"""The leaderboard as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from qbench.records import Record
from qbench.reporting.board import Board, Row
from qbench.reporting.outcomes import Images
from qbench.reporting.table import PREFERRED_EPS, collect
from qbench.reporting.text import DASH, Footnotes, listed, one_line, short, spread

_WIDTH = 118
_LONGEST_NAME = 20


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
    flagged = any(row.findings for row in board.rows)
    head = ["Rank", "Model", "Clean", *_scored(board)]
    head += ["Lipschitz"] if board.bounds and not board.several else []
    head += ["Flags"] if flagged else []
    rows = [_line(board, row, notes, flagged) for row in board.rows]
    align = ["right", "left", *["right"] * (len(head) - 2)]
    parts = [tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=align)]
    for lines in (notes.lines(), _missing(board), _flags(board)):
        if lines:
            parts += ["", *[_wrapped(line) for line in lines]]
    return "\n".join(parts)


def _scored(board: Board) -> list[str]:
    if not board.several:
        return [f"{short(one_line(s.attack), 12)} ε={s.eps:g}" for s in board.settings]
    plain = [s for s in board.plain if s.eps == board.rank_eps]
    return [
        *[f"Worst ε={eps:g}" for eps in board.budgets],
        *[f"{short(one_line(s.attack), 12)} ε={s.eps:g}" for s in plain],
    ]


def _line(board: Board, row: Row, notes: Footnotes, flagged: bool) -> list[str]:
    name = short(row.model.name, _LONGEST_NAME) if board.several else row.model.name
    line = [DASH if row.rank is None else str(row.rank), notes.mark(name, row.notes)]
    line.append(notes.mark(spread(row.clean), row.clean.notes))
    if board.several:
        # Which attacks are missing, and why, is listed below once instead of in every cell.
        line += [_starred(spread(row.worst_at[e]), row.worst_at[e].notes) for e in board.budgets]
        plain = [row.robust[s] for s in board.plain if s.eps == board.rank_eps]
        line += [_starred(spread(score), score.notes) for score in plain]
    else:
        scores = [row.robust[setting] for setting in board.settings]
        line += [notes.mark(spread(score), score.notes) for score in scores]
        if board.bounds:
            bound = row.tightest.bound if row.tightest else None
            line.append(notes.mark(spread(bound, 2), bound.notes) if bound else DASH)
    return [*line, f"⚑ {len(row.findings)}" if row.findings else ""] if flagged else line


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
