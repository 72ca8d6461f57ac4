"""The leaderboard as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.records import Record
from qbench.reporting.table import PREFERRED_EPS, Images, collect
from qbench.reporting.text import DASH, Footnotes, spread


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

    board = collect(records, images, preferred_eps)
    notes = Footnotes(board.subject.seeds, plain=True)
    several = len(board.attacks) > 1
    head = ["Rank", "Model", "Clean", *[f"{s.attack} ε={s.eps:g}" for s in board.settings]]
    head += [f"Worst ε={board.rank_eps:g}"] if several else []
    head += ["Lipschitz"] if board.bounds else []
    rows = []
    for row in board.rows:
        scores = [row.clean, *[row.robust[setting] for setting in board.settings]]
        scores += [row.worst] if several else []
        line = [DASH if row.rank is None else str(row.rank), notes.mark(row.model.name, row.notes)]
        line += [notes.mark(spread(score), score.notes) for score in scores]
        if board.bounds:
            bound = row.tightest.bound if row.tightest else None
            line.append(notes.mark(spread(bound, 2), bound.notes) if bound else DASH)
        rows.append(line)
    align = ["right", "left", *["right"] * (len(head) - 2)]
    table = tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=align)
    return "\n".join([table, *(["", *notes.lines()] if notes.lines() else [])])
