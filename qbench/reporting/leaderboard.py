"""A whole leaderboard: the page, the pictures and the numbers for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.files import write_atomically
from qbench.records import Record
from qbench.reporting.board import Board, Bound, Row, Score
from qbench.reporting.pictures import Picture
from qbench.reporting.samples import class_names
from qbench.reporting.table import PREFERRED_EPS, Images, collect

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
    from qbench.reporting.figures import bounds, curves, glyphs, matrix

    if any(row.worst.by_seed for row in board.rows):
        yield _picture("accuracy", "", curves.accuracy(board), *_ACCURACY)
    for transfer in board.transfers:
        name = f"-{transfer.setting.attack}-{transfer.setting.eps:g}"
        yield _picture("transfer", name, matrix.transfer(board, transfer), *_TRANSFER)
    if any(entry.bound.mean for entry in board.bounds):
        yield _picture("lipschitz", "", bounds.lipschitz(board), *_LIPSCHITZ)
    if board.curves:
        yield _picture("training", "", curves.training(board), *_TRAINING)
    for attack in board.attacks:
        shown = choose(board, records, images, attack)
        if shown is not None:
            yield _picture("examples", f"-{attack}", glyphs.examples(shown, classes), *_EXAMPLES)


_ACCURACY = (
    "Accuracy under attack against the perturbation budget, one line a model.",
    "Accuracy under attack against ε; ε = 0 is clean accuracy. Lines are means over seeds, bands "
    "one sample standard deviation; the dotted line marks the budget of the ranking.",
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


def _picture(kind: Any, name: str, figure: Figure, alt: str, caption: str) -> Picture:
    from qbench.reporting.figures.style import png

    return Picture(kind, f"{kind}{name}.png", alt, caption, png(figure))


def to_json(board: Board) -> str:
    """The rows, transfer matrices and facts of a board as JSON, with one trailing newline."""
    subject = board.subject
    data = {
        "schema_version": 1,
        "protocol": subject.protocol.model_dump(mode="json"),
        "dataset": subject.dataset.model_dump(mode="json"),
        "seeds": list(subject.seeds),
        "versions": dict(subject.versions),
        "ranking_eps": board.rank_eps,
        "rows": [_row(row) for row in board.rows],
        "transfer": [
            {
                "attack": transfer.setting.attack,
                "eps": transfer.setting.eps,
                "source": source,
                "target": target,
                **_score(score),
            }
            for transfer in board.transfers
            for (source, target), score in transfer.entries.items()
        ],
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "model": row.model.name,
        "family": row.model.family,
        "parameters": row.model.parameters,
        "plugin": row.model.plugin,
        "version": row.model.version,
        "seeds": list(row.seeds),
        "clean_accuracy": _score(row.clean),
        "robust_accuracy": [
            {"attack": setting.attack, "eps": setting.eps, **_score(score)}
            for setting, score in row.robust.items()
        ],
        "worst_case_robust_accuracy": _score(row.worst),
        "lipschitz": [_bound(entry) for entry in row.bounds],
        "notes": [vars(note) for note in row.notes],
    }


def _bound(entry: Bound) -> dict[str, Any]:
    return {
        "certifier": entry.certifier,
        "scope": entry.scope,
        "points": entry.points,
        "bound": _score(entry.bound),
        "sampled_jacobian": _score(entry.sampled),
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "mean": score.mean,
        "std": score.std,
        "by_seed": {str(seed): value for seed, value in score.by_seed},
        "notes": [vars(note) for note in score.notes],
    }
