"""The transfer page: a heat map of every matrix, and averages within and across families."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qbench.report.tables import transfer as tables
from qbench.report.transfer import Transfer
from qbench_site.content import File, Page, Source

_LEVELS = 10  # shades, one for each tenth of accuracy


@dataclass(frozen=True)
class Square:
    """A cell of the heat map; `level` is its shade, None without a value."""

    shown: str
    level: int | None


def pages(source: Source) -> Iterator[Page | File]:
    """The matrices of a board, where transfers are on record."""
    board = source.board
    if not board.transfers:
        return
    yield Page(
        path=f"{source.folder}transfer.html",
        template="transfer.html.j2",
        title="Transfer",
        section="transfer",
        source=source,
        context={
            "squares": squares,
            "averages": tables.averages(board),
            "added": tables.added(board),
            "families": {model.name: model.family for model in board.models},
        },
        scripts=("sortable.js", "sortable.a11y.js", "transfer.js"),
    )


def squares(transfer: Transfer, source: str) -> list[Square]:
    """A row of the matrix: the accuracy of every target on images made for a source."""
    return [_square(transfer.entries[source, target].mean) for target in transfer.models]


def _square(mean: float | None) -> Square:
    if mean is None:
        return Square("—", None)
    shown = "1" if mean >= 0.995 else f"{mean:.2f}".removeprefix("0")
    return Square(shown, min(_LEVELS - 1, int(mean * _LEVELS)))
