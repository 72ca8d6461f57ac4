"""Which rows of the paper's Table I were computed from the weights that were published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbench_reproduction.published.results import Checkpoint, Comparison, Weights


@dataclass(frozen=True)
class Row:
    """One Lipschitz bound of Table I, as the paper prints it.

    Args:
        name: In the paper's words.
        model, penalty, epoch: Which training of which of our models it is of.
        bound: To the digits printed.
    """

    name: str
    model: str
    penalty: float
    epoch: int
    bound: str


TABLE_1 = (
    Row("ReUp(0.0)", "reup", 0.0, 20, "73.11"),
    Row("ReUp(0.0)", "reup", 0.0, 100, "106.33"),
    Row("ReUp(0.1)", "reup", 0.1, 20, "18.18"),
    Row("ReUp(0.1)", "reup", 0.1, 100, "19.77"),
    Row("ReUp(0.2)", "reup", 0.2, 20, "13.50"),
    Row("ReUp(0.2)", "reup", 0.2, 100, "11.83"),
    Row("Fourier", "fourier", 0.0, 20, "25.38"),
    Row("ConvNet", "convnet", 0.0, 20, "20.24"),
)


def compare(checkpoints: Sequence[Checkpoint]) -> tuple[Comparison, ...]:
    """Every row of Table I beside every checkpoint of its training, or beside none."""
    found = []
    for row in TABLE_1:
        title, paper = f"{row.name}, epoch {row.epoch}", float(row.bound)
        wanted = (row.model, row.penalty, row.epoch)
        own = [one for one in checkpoints if (one.model, one.penalty, one.epoch) == wanted]
        for one in own:
            same = one.bound is not None and f"{one.bound:.2f}" == row.bound
            weights: Weights = "these weights" if same else "other weights"
            found.append(Comparison(title, paper, one.file, one.bound, weights))
        if not own:
            found.append(Comparison(title, paper, None, None, "no checkpoint here"))
    return tuple(found)
