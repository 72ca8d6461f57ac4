"""More robust than: what paired tests allow to be said."""

from __future__ import annotations

from qbench.reporting.board import Board, Comparison
from qbench.reporting.significance import LEVEL
from qbench.reporting.text import DASH, escape, folded, p_value, table


def more_robust_than(board: Board) -> list[str]:
    """Which models are more robust than which others, and every test behind it."""
    if not board.comparisons:
        return []
    images = board.comparisons[0].images
    proved: dict[str, list[Comparison]] = {}
    for one in board.comparisons:
        if one.p_holm < LEVEL:
            proved.setdefault(one.first, []).append(one)
    ranked = [row for row in board.rows if row.kept is not None]
    place = {row.model.name: number for number, row in enumerate(ranked)}
    rows = []
    for row in ranked:
        beaten = sorted(proved.get(row.model.name, []), key=lambda one: place[one.second])
        rows.append(
            [
                escape(row.model.name),
                f"{row.kept} of {images}",
                ", ".join(escape(one.second) for one in beaten) or DASH,
            ]
        )
    count = len(board.comparisons)
    what = "in the worst case over its attacks" if board.several else "under the attack"
    words = (
        f"Two models are compared on the same {images} images. A model keeps an image if more than "
        f"half of its seeds classify it correctly, clean and {what}, at ε = {board.rank_eps:g}. "
        "McNemar's exact test (two-sided) asks whether the images that one of the two alone keeps "
        f"split evenly; its p-values are corrected by Holm's method for {_tests(count)}. Below are "
        f"those with a corrected p < {LEVEL:g}; of other pairs this run cannot say which model is "
        "the more robust, whatever their ranks. The test is over images: it says nothing about "
        "seeds that were not trained."
    )
    head = ["Model", "Images kept", f"More robust than (Holm-corrected p < {LEVEL:g})"]
    return [
        "## More robust than",
        words,
        table(head, rows, ["left", "right", "left"]),
        folded(f"Every test ({count})", _every(board.comparisons)),
    ]


def _tests(count: int) -> str:
    return "the single pair" if count == 1 else f"all {count} pairs"


def _every(comparisons: tuple[Comparison, ...]) -> str:
    head = ["Model", "Other", "Only the first keeps", "Only the other keeps", "p", "p (Holm)"]
    rows = [
        [
            escape(one.first),
            escape(one.second),
            str(one.only_first),
            str(one.only_second),
            p_value(one.p),
            p_value(one.p_holm),
        ]
        for one in comparisons
    ]
    return table(head, rows, ["left", "left", "right", "right", "right", "right"])
