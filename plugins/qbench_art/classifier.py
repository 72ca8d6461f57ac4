"""A qbench model as the PyTorch classifier that ART attacks. Imports ART."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.errors import Unsupported

Array = NDArray[Any]
Box = tuple[float, float]
_CHUNK = 4096  # images a pass


class Exhausted(Exception):  # noqa: N818 - ends an attack that would not end, not a failure
    """ART asked for more passes than it may have."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How ART sees pixels: as (pixel - low) / width, since it takes them for numbers in [0, 1].

    Args:
        shape: Of an input: (1, rows, columns) of an image, (features,) of a row of a table.
        low, width: The box, or one that the ball cannot leave.
        clip: Where inputs are clipped to before the model, or None.
        told: The box that ART is told of.
    """

    shape: tuple[int, ...]
    low: float = 0.0
    width: float = 1.0
    clip: Box | None = None
    told: Box = (0.0, 1.0)

    def to_art(self, x: Tensor) -> Array:
        """Images (n, features) as (n, 1, rows, columns), rows of a table as they are."""
        images: Array = ((x - self.low) / self.width).numpy(force=True).astype(np.float32)
        return images.reshape(len(x), *self.shape)

    def from_art(self, images: Tensor, like: Tensor) -> Tensor:
        """Images (n, features) of like's precision, on its device."""
        # Some attacks compute in float64 although images and models are float32.
        x = images.flatten(1).to(like) * self.width + self.low
        return x if self.clip is None else x.clamp(*self.clip)


class Images(nn.Module):
    """The model as ART may call it.

    Args:
        model: The model under attack.
        like: A tensor whose precision and device the model expects.
        view: How ART sees pixels.
        probabilities: Give the softmax of the scores.
    """

    def __init__(self, model: nn.Module, like: Tensor, view: View, probabilities: bool) -> None:
        super().__init__()
        # Not a submodule: ART switches modes, clears gradients and moves the devices of those.
        self._score = model.__call__
        self._like, self._view, self._probabilities = like, view, probabilities
        self.left = math.inf

    def forward(self, images: Tensor) -> Tensor:
        """Scores (n, classes) of images (n, 1, rows, columns) or of rows (n, features).

        Raises:
            Exhausted: That would be more images than are `left`.
            Unsupported: Gradients are wanted and the model has none.
        """
        self.left -= len(images)
        if self.left < 0:
            raise Exhausted
        x = self._view.from_art(images, self._like)
        # ART's Square divides by zero in l2. Such a point is no image: it gets no scores.
        real = x.isfinite().all(1, keepdim=True)
        if not bool(real.all()):
            x = torch.where(real, x, self._view.low + self._view.width / 2)
        scores: Tensor = torch.where(real, self._score(x), torch.nan)
        if x.requires_grad and torch.is_grad_enabled() and not scores.requires_grad:
            raise Unsupported("this attack needs gradients, which the model does not give")
        return (scores.softmax(1) if self._probabilities else scores).to(images.device)


class Classifier(PyTorchClassifier):  # type: ignore[misc]
    """ART's classifier, with passes as large as can be.

    Args:
        model: The model under attack.
        x: Images (n, features), for their shape, precision and device.
        classes: How many scores the model gives.
        view: How ART sees pixels.
        probabilities: Give the softmax of the scores.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, classes: int, view: View, *, probabilities: bool = False
    ) -> None:
        self.images = Images(model, x[:0], view, probabilities)
        super().__init__(
            model=self.images,
            loss=nn.CrossEntropyLoss(),
            input_shape=view.shape,
            nb_classes=classes,
            clip_values=view.told,
            device_type="cpu",
        )

    def predict(
        self, x: Any, batch_size: int = 0, training_mode: bool = False, **kwargs: Any
    ) -> Array:
        """Scores (n, classes). `batch_size` is ignored: attacks set it to 1 to save memory."""
        with torch.no_grad():
            chunks = [self.images(chunk) for chunk in torch.split(torch.as_tensor(x), _CHUNK)]
        scores: Array = torch.cat(chunks).numpy().astype(np.float32)
        return scores

    def class_gradient(
        self, x: Any, label: Any = None, training_mode: bool = False, **kwargs: Any
    ) -> Array:
        """Gradients (n, classes or 1, *shape) of all scores, or of the one that `label` names.

        ART's own differentiates the whole batch once for every class that `label` holds.
        """
        images = torch.tensor(x, requires_grad=True)
        scores = self.images(images)
        if label is None:
            columns = list(scores.unbind(1))
        else:
            index = torch.as_tensor(label, dtype=torch.int64).expand(len(scores))
            columns = [scores.gather(1, index[:, None])[:, 0]]
        gradients = [
            torch.autograd.grad(column.sum(), images, retain_graph=True)[0] for column in columns
        ]
        stacked: Array = torch.stack(gradients, 1).numpy()
        return stacked
