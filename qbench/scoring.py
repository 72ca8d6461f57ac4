"""The scoring stage: what a model says of clean and adversarial images, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.crafting import frozen
from qbench.errors import VerificationError
from qbench.geometry import distance
from qbench.metrics import wilson_interval


@dataclass(frozen=True)
class Scored:
    """Outcomes of n images, one array (n,) a column.

    Margins are the label's score minus the best other one: negative when misclassified.
    """

    label: NDArray[np.int8]
    clean_prediction: NDArray[np.int8]
    adversarial_prediction: NDArray[np.int8]
    clean_margin: NDArray[np.float32]
    adversarial_margin: NDArray[np.float32]
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
        """95 % Wilson interval of the robust accuracy."""
        return wilson_interval(int(self.robust.sum()), len(self.robust))


def score(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Scored:
    """Score clean images x and adversarial images x_adv, both (n, features), with labels y (n,).

    Raises:
        VerificationError: The scores are not finite or not (n, classes).
    """
    clean, adversarial = predict(model, x), predict(model, x_adv)
    return Scored(
        label=y.numpy().astype(np.int8),
        clean_prediction=clean.argmax(1).numpy().astype(np.int8),
        adversarial_prediction=adversarial.argmax(1).numpy().astype(np.int8),
        clean_margin=margins(clean, y).float().numpy(),
        adversarial_margin=margins(adversarial, y).float().numpy(),
        linf=distance(x_adv, x, "linf").float().numpy(),
        l2=distance(x_adv, x, "l2").float().numpy(),
    )


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Scores (n, classes) without gradients.

    Raises:
        VerificationError: The scores are not finite or not (n, classes).
    """
    with frozen(model), torch.no_grad():
        scores = model(x)
    if scores.dim() != 2 or len(scores) != len(x) or scores.shape[1] < 2:
        raise VerificationError(
            f"a model must give scores ({len(x)}, classes), got {tuple(scores.shape)}"
        )
    bad = (~torch.isfinite(scores).all(1)).nonzero()[:, 0]
    if len(bad):
        which = f"image {int(bad[0])} ({len(bad)} in all)"
        raise VerificationError(f"the scores of {which} are not finite")
    return scores  # type: ignore[no-any-return]


def margins(scores: Tensor, y: Tensor) -> Tensor:
    """Score of the label minus the best other score, (n,)."""
    of_label = scores.gather(1, y[:, None])[:, 0]
    others = scores.scatter(1, y[:, None], -torch.inf)
    return of_label - others.amax(1)
