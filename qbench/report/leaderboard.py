"""A whole leaderboard: the page, the pictures and the numbers for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbench.datasets.base import Dataset
from qbench.files import own_folder, write_atomically
from qbench.protocols import Protocol
from qbench.records.results import Results
from qbench.report import render
from qbench.report.board import Board
from qbench.report.collect import collect
from qbench.report.examples import choose
from qbench.report.export import to_json
from qbench.report.page import page
from qbench.report.pictures import draw
from qbench.report.tables import accuracy

BOARDS = "boards"  # the folder, beside the page, of the pages of other boards


@dataclass(frozen=True)
class Part:
    """A board of several, with what its page is made from.

    Args:
        name: What it is called in tables, and its folder.
        results: Of one protocol.
        dataset: The attacked images, for pictures of them and names of classes.
        protocol: Tells the reference attack, the budget to rank at and the attacked images.
    """

    name: str
    results: Results
    dataset: Dataset | None = None
    protocol: Protocol | None = None


def build_all(parts: Sequence[Part], out: Path) -> list[Path]:
    """Write a page for each board, that of the first into `out`, the others' below `boards/`.

    The first page begins with a comparison of all boards.

    Args:
        parts: At least one.
        out: The folder, as for `build`.

    Raises:
        StoreError: As `build`.
    """
    boards = {part.name: collect(part.results, protocol=part.protocol) for part in parts}
    written = []
    for part, board in [*zip(parts, boards.values(), strict=True)][::-1]:
        first = part is parts[0]
        folder = out if first else out / BOARDS / part.name
        written += _write(board, part, folder, boards if first else {})
    return written


def build(
    results: Results,
    out: Path,
    *,
    eps: float | None = None,
    dataset: Dataset | None = None,
    protocol: Protocol | None = None,
) -> list[Path]:
    """Write README.md, leaderboard.json and figures/*.png; the same bytes for the same results.

    Args:
        results: Of one protocol.
        out: The folder; made when there is none. Other files in it are left alone.
        eps: The budget to rank at; None for the protocol's, where it was measured.
        dataset: The attacked images, for pictures of them and names of classes.
        protocol: Tells the reference attack, the budget to rank at and the attacked images.

    Returns:
        What was written, the page last: it never refers to a picture that is not there yet.

    Raises:
        StoreError: The results do not belong together, or the folder cannot be written.
        UsageError: Nothing was attacked at `eps`.
    """
    board = collect(results, eps=eps, protocol=protocol)
    return _write(board, Part("", results, dataset, protocol), out, {})


def _write(board: Board, part: Part, out: Path, boards: Mapping[str, Board]) -> list[Path]:
    dataset = part.dataset
    examples = None if dataset is None else choose(board, part.results, dataset, part.protocol)
    pictures = list(draw(board, examples, () if dataset is None else dataset.classes))
    contents = {f"figures/{picture.file}": picture.content for picture in pictures}
    contents["leaderboard.json"] = to_json(board).encode()
    contents["README.md"] = page(board, pictures, boards).encode()
    if pictures:
        own_folder(out / "figures")
    for name, content in contents.items():
        write_atomically(out / name, content)
    return [out / name for name in contents]


def ranking_table(board: Board) -> str:
    """The first table of the page, for another page: markdown without notes."""
    return render.markdown(accuracy.ranking(board))
