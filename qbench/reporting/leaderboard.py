"""A whole leaderboard: the page, the pictures and the numbers for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.files import write_atomically
from qbench.records import Record
from qbench.reporting.board import Board
from qbench.reporting.machine import to_json
from qbench.reporting.outcomes import Images
from qbench.reporting.pictures import Kind, Picture
from qbench.reporting.samples import class_names
from qbench.reporting.table import PREFERRED_EPS, collect
from qbench.reporting.text import slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def build(
    records: Sequence[Record],
    images: Images,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    preferred_eps: float = PREFERRED_EPS,
) -> list[Path]:
    """Write README.md, leaderboard.json and figures/*.png; the same bytes for the same records.

    Args:
        records: Records of one protocol, in any order.
        images: Per-image outcomes of a record, e.g. `Store.images`.
        out: The folder; made when there is none. Other files in it are left alone.
        classes: Names of the classes by label, for pictures; the data set is asked when None.
        preferred_eps: The budget to rank at, where it was measured.

    Returns:
        What was written, the page last: it never refers to a picture that is not there yet.

    Raises:
        StoreError: The records do not belong together, or the folder cannot be written.
    """
    from qbench.reporting.markdown import render

    board = collect(records, images, preferred_eps)
    names = class_names(records) if classes is None else classes
    pictures = list(draw(board, records, images, names))
    contents = {f"figures/{picture.file}": picture.content for picture in pictures}
    contents["leaderboard.json"] = to_json(board).encode()
    contents["README.md"] = render(board, pictures).encode()
    for name, content in contents.items():
        write_atomically(out / name, content)
    return [out / name for name in contents]


def draw(
    board: Board, records: Sequence[Record], images: Images, classes: Sequence[str] = ()
) -> Iterator[Picture]:
    """Every picture that the records have something to say for."""
    from qbench.reporting.examples import choose
    from qbench.reporting.figures import bounds, certified, curves, glyphs, matrix

    if any(row.worst.by_seed for row in board.rows):
        yield _picture("accuracy", "", curves.accuracy(board), *_ACCURACY)
        if board.several:
            yield _picture("attacks", "", matrix.attacks(board), *_ATTACKS)
        if board.trained_pairs:
            figure = curves.adversarial_training(board)
            yield _picture("adversarial-training", "", figure, *_ADVERSARIAL)
    for name in board.certified_norms:
        yield _picture("certified", f"-{name}", certified.accuracy(board, name), *_CERTIFIED)
        if board.budgets:
            yield _picture("radii", f"-{name}", certified.radii(board, name), *_RADII)
    for transfer in board.transfers:
        if transfer.setting.attack == board.reference:
            name = f"-{slug(transfer.setting.attack)}-{transfer.setting.eps:g}"
            yield _picture("transfer", name, matrix.transfer(board, transfer), *_TRANSFER)
    if any(entry.bound.mean for entry in board.bounds):
        yield _picture("lipschitz", "", bounds.lipschitz(board), *_LIPSCHITZ)
    if board.curves:
        yield _picture("training", "", curves.training(board), *_TRAINING)
    if board.reference is not None:
        shown = choose(board, records, images, board.reference)
        if shown is not None:
            name = f"-{slug(board.reference)}"
            yield _picture("examples", name, glyphs.examples(shown, classes), *_EXAMPLES)


_ACCURACY = (
    "Accuracy under attack against the perturbation budget, one line a model.",
    "Accuracy under attack against ε; ε = 0 is clean accuracy. Lines are means over seeds, bands "
    "one sample standard deviation; the dotted line marks the budget of the ranking.",
)
_CERTIFIED = (
    "Certified accuracy and accuracy under attack against the perturbation budget, one panel a "
    "model.",
    "Accuracy against ε, means over seeds. Solid: certified at ε; dashed: not broken within ε by "
    "anything on record, transferred images included; dots: the worst case of the table. Robust "
    "accuracy lies in the shaded region, at the dotted budget in the interval above the panel.",
)
_RADII = (
    "Certified radius of each image against the distance of the nearest adversarial image on "
    "record, one panel a model.",
    "Every correctly classified image and seed: its certified radius against the distance of the "
    "nearest adversarial image on record, transferred ones included. No sound certificate lies "
    "above the line, and on it nothing is left to prove or to find. Above each panel: the median "
    "ratio of the two.",
)
_ATTACKS = (
    "Heat map of robust accuracy: attacks in rows, models in columns, the worst case below.",
    "Robust accuracy under every attack at the budget of the ranking, mean over seeds; framed: "
    "the strongest attack on each model. The worst case is per image.",
)
_ADVERSARIAL = (
    "Accuracy under attack against the perturbation budget with and without adversarial "
    "training, one panel a pair of models.",
    "Accuracy under attack against ε of models trained on attacked images (filled, solid) and of "
    "the same structure trained on clean ones (open, dashed): means over seeds, bands one sample "
    "standard deviation.",
)
_TRANSFER = (
    "Heat map of the transfer matrix: source models in rows, target models in columns.",
    "Accuracy of the target on images made to fool the source, mean over seeds; framed: the "
    "attack on the model itself.",
)
_LIPSCHITZ = (
    "Proven Lipschitz bounds beside the largest sampled Jacobian norms, per model.",
    "Filled: proven bound; open: largest Jacobian norm at sampled points. Symbols are means over "
    "seeds, coloured bars smallest to largest; on the right the smallest ratio of any seed.",
)
_TRAINING = (
    "Test accuracy per epoch of training, one panel a model.",
    "Test accuracy per epoch: mean over seeds and, shaded, smallest to largest. The axis starts "
    "where nine in ten values lie above it; the steep first epochs may come from below.",
)
_EXAMPLES = (
    "One image before and after the attack, and the perturbation, for every model.",
    "The same image attacked for every model (smallest seed): x, the perturbation δ, x′ = x + δ, "
    "and the class predicted for each. Of the images kept, the one that fools most models; a "
    "cross and a frame mark wrong predictions.",
)


def _picture(kind: Kind, name: str, figure: Figure, alt: str, caption: str) -> Picture:
    from qbench.reporting.figures.style import png

    return Picture(kind, f"{kind}{name}.png", alt, caption, png(figure))
