"""The scoring stage: what a model says of clean and adversarial images, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.evaluation.crafting import checked_scores, frozen
from qbench.geometry import distance
from qbench.records.statistics import wilson_interval


@dataclass(frozen=True)
class Scored:
    """Outcomes of n images, one array (n,) a column.

    Margins are the label's score minus the best other one: not positive when misclassified. For a
    stochastic model, predictions and margins are (repeats, n), one row for each fresh pass, and
    accuracies are means over the repeats.
    """

    label: NDArray[np.int16]
    clean_prediction: NDArray[np.int16]
    adversarial_prediction: NDArray[np.int16]
    clean_margin: NDArray[np.float16]
    adversarial_margin: NDArray[np.float16]
    linf: NDArray[np.float32]
    l2: NDArray[np.float32]

    @property
    def robust(self) -> NDArray[np.bool_]:
        """Images classified correctly both clean and under attack."""
        correct = self.clean_prediction == self.label
        return np.asarray(correct & (self.adversarial_prediction == self.label), np.bool_)

    @property
    def clean_accuracy(self) -> float:
        """Share of clean images classified correctly."""
        return float(np.mean(self.clean_prediction == self.label))

    @property
    def adversarial_accuracy(self) -> float:
        """Share of adversarial images classified correctly."""
        return float(np.mean(self.adversarial_prediction == self.label))

    @property
    def robust_accuracy(self) -> float:
        """Share of `robust` images."""
        return float(np.mean(self.robust))

    @property
    def wilson95(self) -> tuple[float, float]:
        """95 % Wilson interval of the robust accuracy; repeats do not count as more images."""
        n, repeats = len(self.label), self.robust.size // len(self.label)
        return wilson_interval(float(self.robust.sum()) / repeats, n)


def score(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, repeats: int = 1) -> Scored:
    """Score clean images x and adversarial images x_adv, both (n, features), with labels y (n,).

    Args:
        model: The target.
        x, x_adv, y: Images and labels.
        repeats: Fresh passes; more than one for a stochastic model.

    Raises:
        VerificationError: The scores are not finite or not (n, classes).
    """
    adversarial = torch.stack([predict(model, x_adv) for _ in range(repeats)])
    clean = torch.stack([predict(model, x) for _ in range(repeats)])
    return outcomes(clean, adversarial, x, x_adv, y)


def outcomes(clean: Tensor, adversarial: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Scored:
    """What scores say, image by image.

    Where another class ties with the label, the image is not classified correctly (`predicted`).
    Only of several passes, which a stochastic model draws, each tie is broken as `argmax` breaks
    it: counts tie by chance.

    Args:
        clean, adversarial: Scores (repeats, n, classes) of x and of x_adv.
        x, x_adv, y: Images (n, features) and labels (n,).
    """
    clean, adversarial = clean.double(), adversarial.double()
    return Scored(
        label=y.numpy().astype(np.int16),
        clean_prediction=_predictions(clean, y),
        adversarial_prediction=_predictions(adversarial, y),
        clean_margin=_rows([_half(margins(scores, y)) for scores in clean], np.float16),
        adversarial_margin=_rows([_half(margins(scores, y)) for scores in adversarial], np.float16),
        linf=distance(x_adv, x, "linf").float().numpy(),
        l2=distance(x_adv, x, "l2").float().numpy(),
    )


def predicted(scores: Tensor, y: Tensor) -> Tensor:
    """The class of the largest score, (n,), and another one where the label y (n,) only ties.

    A model whose scores are all equal has decided nothing, and would be right, and robust, about
    every image whose label comes first.
    """
    other = scores.scatter(1, y[:, None], -torch.inf).argmax(1)
    return torch.where(margins(scores, y) > 0, y, other)


def _predictions(passes: Tensor, y: Tensor) -> NDArray[Any]:
    if len(passes) > 1:
        return _rows([scores.argmax(1) for scores in passes], np.int16)
    return _rows([predicted(passes[0], y)], np.int16)


def _half(margins: Tensor) -> Tensor:
    """What half precision can hold: three digits are enough to look at, and to rank by."""
    return margins.clamp(-65504, 65504)


def _rows(columns: list[Tensor], dtype: type[Any]) -> NDArray[Any]:
    rows = np.stack([column.numpy().astype(dtype) for column in columns])
    return rows if len(rows) > 1 else rows[0]


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Scores (n, classes) without gradients.

    Raises:
        VerificationError: The scores are not finite or not (n, classes).
    """
    return predict_parts(model, (x,))


def predict_parts(model: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """Scores (n, classes) of batches one after the other, as `predict`."""
    with frozen(model), torch.no_grad():  # a model may change its input
        scores = torch.cat([checked_scores(model(x.clone()), len(x)) for x in parts])
    bad = (~torch.isfinite(scores).all(1)).nonzero()[:, 0]
    if len(bad):
        which = f"image {int(bad[0])} ({len(bad)} in all)"
        raise VerificationError(f"the scores of {which} are not finite")
    return scores


def margins(scores: Tensor, y: Tensor) -> Tensor:
    """Score of the label minus the best other score, (n,)."""
    of_label = scores.gather(1, y[:, None])[:, 0]
    others = scores.scatter(1, y[:, None], -torch.inf)
    return of_label - others.amax(1)
