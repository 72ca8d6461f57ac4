"""Lipschitz bounds, certifier by certifier."""

from __future__ import annotations

from qbench.reporting.board import Board
from qbench.reporting.text import DASH, Footnotes, escape, spread, table


def lipschitz(board: Board, notes: Footnotes) -> list[str]:
    """Every bound beside the largest Jacobian norm seen, and where each certifier comes from."""
    if not board.bounds:
        return []
    head = [
        "Model",
        "Certifier",
        "Scope",
        "Bound",
        "Largest Jacobian",
        "Bound / Jacobian",
        "Points",
    ]
    rows = []
    for entry in board.bounds:
        rows.append(
            [
                escape(entry.model),
                DASH if entry.certifier is None else escape(entry.certifier),
                entry.scope or DASH,
                notes.mark(spread(entry.bound, 2), entry.bound.notes),
                spread(entry.sampled, 2),
                DASH if entry.slack is None else f"{entry.slack:.1f}",
                DASH if entry.points is None else str(entry.points),
            ]
        )
    words = (
        "A proven bound on how fast the scores can change with the image (both in the ℓ2 norm), "
        "beside the largest Jacobian norm found at sampled points, which no valid bound can lie "
        "below; mean ± std over seeds, and the smallest ratio of the two of any seed. Scope: "
        "`vector` bounds all scores together, `score` each single score; bounds of different "
        "scope are not comparable."
    )
    sources = [f"- {escape(name)}: {escape(source)}" for name, source in board.subject.certifiers]
    align = ["left", "left", "left", "right", "right", "right", "right"]
    parts = ["## Lipschitz bounds", words, table(head, rows, align)]
    return [*parts, "\n".join(sources)] if sources else parts
