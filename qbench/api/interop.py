"""`qbench.to_art` and `qbench.to_foolbox`: a model as other libraries attack it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qbench.adapters import Adapted
from qbench.api.evaluation import fitted_model
from qbench.datasets.attacked import AttackedImages, Box, attacked_images
from qbench.errors import Unsupported, UsageError
from qbench.extras import install_command

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier
    from foolbox import PyTorchModel


def to_art(
    model: Any, data: Any = "glyphs", *, box: Box = (0.0, 1.0), seed: int = 0
) -> PyTorchClassifier:
    """A model as the adversarial-robustness-toolbox (ART) attacks it.

    The classifier takes float32 arrays (n, 1, rows, columns) of images, or (n, features) of the
    rows of a table, in the range of `box`, and gives the model's scores (n, classes). What ART
    finds is not checked by qbench: `qbench.evaluate(model, attack="art-pgd")` runs ART's attacks
    and checks them.

    Args:
        model: Anything that `adapt` takes, or the name of a zoo model.
        data: As for `evaluate`; it says what an input looks like.
        box: Range of pixels, or None for no range.
        seed: Of a zoo model.

    Raises:
        Unsupported: ART is not installed; later, where a gradient is asked for, that the model
            gives none.
        UnknownNameError, UsageError, DataError: As for `evaluate`.
    """
    try:
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        needs = f"to_art needs the adversarial-robustness-toolbox ({error})"
        raise Unsupported(f"{needs}: {install_command('art')}") from error
    given = attacked_images(data, box)
    asked = _Asked(fitted_model(model, given, box, seed), given)
    return PyTorchClassifier(
        model=asked,
        loss=nn.CrossEntropyLoss(),
        input_shape=_shape(given),
        nb_classes=asked.classes,
        clip_values=box,
        device_type="cpu",
    )


def to_foolbox(
    model: Any, data: Any = "glyphs", *, box: Box = (0.0, 1.0), seed: int = 0
) -> PyTorchModel:
    """A model as Foolbox attacks it.

    It takes tensors of images (n, 1, rows, columns), or (n, features), in the range of `box`, and
    gives the model's scores (n, classes). The arguments are those of `to_art`.

    Raises:
        Unsupported: Foolbox is not installed; later, where a gradient is asked for, that the model
            gives none.
        UsageError: There is no box: Foolbox needs one.
        UnknownNameError, DataError: As for `evaluate`.
    """
    if box is None:
        raise UsageError("Foolbox needs a range of pixels: give box=(low, high)")
    try:
        from foolbox import PyTorchModel
    except ImportError as error:
        needs = f"to_foolbox needs foolbox ({error})"
        raise Unsupported(f"{needs}: {install_command('foolbox')}") from error
    given = attacked_images(data, box)
    asked = _Asked(fitted_model(model, given, box, seed), given)
    return PyTorchModel(asked.eval(), bounds=box, device="cpu")


def _shape(given: AttackedImages) -> tuple[int, ...]:
    """Of an input: (1, rows, columns) of an image, that of images with channels, or (features,)."""
    shape = given.image_shape
    if shape is None:
        return (given.split.x.shape[1],)
    return (1, *shape) if len(shape) == 2 else shape


class _Asked(nn.Module):
    """An adapted model that takes inputs of any shape, on the CPU.

    Args:
        model: The model.
        given: Inputs, for their number of features and their classes.
    """

    def __init__(self, model: Adapted, given: AttackedImages) -> None:
        super().__init__()
        self.model = model
        self.classes = model.layout(given.split.x).classes

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of inputs (n, ...)."""
        flat = x.flatten(1)
        if (
            x.requires_grad
            and torch.is_grad_enabled()
            and (why := self.model.missing_gradient(flat))
        ):
            raise Unsupported(why)
        return self.model(flat)  # type: ignore[no-any-return]
