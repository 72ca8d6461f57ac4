"""The pictures of a leaderboard; how to read them is said on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qbench.report.board import Board
from qbench.report.text import slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qbench.report.examples import Examples

Kind = str  # of a picture: what it shows, and the start of its file's name


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Args:
        kind: What it shows.
        file: Its name in the folder of figures.
        content: The PNG.
    """

    kind: Kind
    file: str
    content: bytes


def draw(
    board: Board, examples: Examples | None = None, classes: Sequence[str] = ()
) -> Iterator[Picture]:
    """Every picture that the board has something to say for.

    Args:
        board: What to show.
        examples: An image attacked for every model; None without.
        classes: Names of the classes by label; without, labels are shown as numbers.
    """
    from qbench.report.figures import bounds, certified, curves, matrix
    from qbench.report.figures.examples import examples as draw_examples

    if any(row.worst.by_seed for row in board.rows):
        yield _picture("accuracy", curves.accuracy(board))
        if len(board.attacks) > 1:
            yield _picture("attacks", matrix.attacks(board))
        if board.trained_pairs:
            yield _picture("adversarial-training", curves.adversarial_training(board))
    for name in board.certified_norms:
        yield _picture("certified", certified.accuracy(board, name), f"-{name}")
        if board.budgets:
            yield _picture("radii", certified.radii(board, name), f"-{name}")
    for transfer in board.transfers:
        if transfer.setting.attack == board.reference:
            name = f"-{slug(transfer.setting.attack)}-{transfer.setting.eps:g}"
            yield _picture("transfer", matrix.transfer(board, transfer), name)
    if any(entry.bound.mean for entry in board.bounds):
        yield _picture("lipschitz", bounds.lipschitz(board))
    if board.curves:
        yield _picture("training", curves.training(board))
    if examples is not None:
        yield _picture("examples", draw_examples(examples, classes))


def _picture(kind: Kind, figure: Figure, name: str = "") -> Picture:
    from qbench.report.figures.style import png

    return Picture(kind, f"{kind}{name}.png", png(figure))
