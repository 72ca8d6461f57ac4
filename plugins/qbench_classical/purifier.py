"""A classifier behind an autoencoder that is to take perturbations away: a purifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from qbench.datasets.base import Dataset
from qbench_classical.models import ConvNet

_EPOCHS = 20  # of the classifier, as its published recipe
_PURIFIER_EPOCHS = 100
_BATCH, _STEP = 50, 1e-3


class Purified(nn.Module):
    """Linear → ReLU → Linear → sigmoid, an autoencoder (Meng and Chen 2017), then a classifier.

    The paper's reformer is such an autoencoder; here it is part of the model, so that attacks
    differentiate through it. Train it with `fit`.

    Args:
        classifier: The model of purified images.
        features: Length of an input.
        code: Numbers that the autoencoder squeezes an image into.
        noise: Standard deviation of the noise that it learns to take away, in pixel units.
    """

    def __init__(
        self, classifier: nn.Module, features: int, code: int = 32, noise: float = 0.1
    ) -> None:
        super().__init__()
        if code < 1 or noise < 0:
            raise ValueError(f"code {code}, noise {noise}: give at least 1 and at least 0")
        self.noise = noise
        self.purifier = nn.Sequential(
            nn.Linear(features, code), nn.ReLU(), nn.Linear(code, features), nn.Sigmoid()
        )
        self.classifier = classifier

    @property
    def engine(self) -> Any:
        """Where the classifier's circuit runs, if it has one."""
        return self.classifier.engine

    @engine.setter
    def engine(self, engine: Any) -> None:
        self.classifier.engine = engine

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        return self.classifier(self.purifier(x))  # type: ignore[no-any-return]


def purified_convnet(
    image_shape: Sequence[int] | None = (16, 16),
    classes: int = 4,
    code: int = 32,
    noise: float = 0.1,
) -> Purified:
    """`ConvNet` behind a purifier.

    Args:
        image_shape: Rows and columns, as for `ConvNet`.
        classes: Their number.
        code: Numbers that the autoencoder squeezes an image into.
        noise: Standard deviation of the noise that it learns to take away, in pixel units.

    Raises:
        Unsupported: There are no images of that size.
    """
    classifier = ConvNet(image_shape, classes)
    rows, columns = classifier.image_shape
    return Purified(classifier, rows * columns, code, noise)


def fit(model: Purified, dataset: Dataset, seed: int) -> None:
    """Train the autoencoder to give an image back from a noisy one, then the classifier behind it.

    Both by Adam, with a step size of 10⁻³ and batches of 50: 100 epochs on the squared error, 20 on
    cross-entropy of clean images that the autoencoder, which is no longer changed, has purified.
    Labels have no part in the first.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = dataset.train.x, dataset.train.y

    def reconstruction(batch: Tensor) -> Tensor:
        noise = model.noise * torch.randn(x[batch].shape, generator=generator)
        return mse_loss(model.purifier((x[batch] + noise).clamp(0, 1)), x[batch])

    def classification(batch: Tensor) -> Tensor:
        return cross_entropy(model.classifier(purified[batch]), y[batch])

    _descend(model.purifier.parameters(), reconstruction, len(y), _PURIFIER_EPOCHS, generator)
    with torch.no_grad():
        purified = model.purifier(x)
    _descend(model.classifier.parameters(), classification, len(y), _EPOCHS, generator)


def _descend(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    images: int,
    epochs: int,
    generator: torch.Generator,
) -> None:
    """Adam on the loss of batches, which are given as indices of images."""
    optimizer = torch.optim.Adam(parameters, lr=_STEP)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(images, generator=generator), _BATCH):
            optimizer.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
