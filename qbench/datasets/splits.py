"""The two halves of a data set, and what images, rows and labels must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.errors import DataError

MOST_CLASSES = 32_767  # labels are kept in 16 bits
Shape = tuple[int, int] | None
Place = Callable[[int], str]  # what an image or a row is called in a message


@dataclass(frozen=True)
class Split:
    """Images, or rows of a table, and their labels.

    Args:
        x: float32 (n, features) in [0, 1]; images are flattened row by row.
        y: int64 (n,) class labels.
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Range:
    """What is mapped to [0, 1].

    Args:
        low, high: float64 (features,), or of no dimension for all features.
    """

    low: Tensor
    high: Tensor

    def scaled(self, x: Tensor, place: Place, names: Sequence[str] | None = None) -> Tensor:
        """Values float64 (n, features) of this range as float32 in [0, 1].

        Args:
            x: The values.
            place: What an image or a row is called.
            names: Of the features; None where they are pixels.

        Raises:
            DataError: Naming the first value outside.
        """
        low, high = self.low.expand(x.shape[1]), self.high.expand(x.shape[1])
        good = (x >= low) & (x <= high)
        rows = (~good.all(1)).nonzero()[:, 0]
        if len(rows):
            row = int(rows[0])
            at = int((~good[row]).nonzero()[0])
            value = float(x[row, at])
            found = f"the pixel {value:g}" if names is None else f"{value:g} as {names[at]}"
            if self is UNIT:
                hint = "scale them, or use Dataset.from_arrays(..., feature_range=(low, high))"
            else:
                hint = "declare a range that holds all values"
            raise DataError(
                f"{place(row)} ({len(rows)} in all) has {found}, outside [{float(low[at]):g}, "
                f"{float(high[at]):g}]: {'mend or drop it' if math.isnan(value) else hint}"
            )
        return ((x - low) / (high - low)).float()


UNIT = Range(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def flattened(values: object, image_shape: Shape, place: Place) -> tuple[Tensor, Shape]:
    """Images or rows as float64 (n, features), and the images' shape.

    Args:
        values: A tensor, an array or a list: (n, features), (n, rows, columns), or the latter with
            one channel before or after the rows and columns.
        image_shape: Rows and columns, None where they are not stated.
        place: What an image or a row is called.

    Raises:
        DataError: They are none of these.
    """
    x = _numbers(values)
    if len(x) == 0:
        raise DataError("no images or rows: give at least one")
    if x.dim() == 4 and 1 in (x.shape[1], x.shape[3]):
        x = x.squeeze(1) if x.shape[1] == 1 else x.squeeze(3)
    if x.dim() == 4:
        raise DataError(
            f"colour images of shape {tuple(x.shape[1:])}: make them grey (the mean over the "
            "channels), or give them flattened, as a table"
        )
    if x.dim() == 3:
        found = (int(x.shape[1]), int(x.shape[2]))
        if image_shape not in (None, found):
            raise DataError(f"images of shape {found}, where image_shape says {image_shape}")
        x, image_shape = x.flatten(1), found
    if x.dim() != 2 or x.shape[1] == 0:
        raise DataError(
            f"values of shape {tuple(x.shape)}: give (n, features) or (n, rows, columns)"
        )
    if image_shape is not None and x.shape[1] != image_shape[0] * image_shape[1]:
        raise DataError(
            f"{place(0)} has {x.shape[1]} pixels, where image_shape {image_shape} makes "
            f"{image_shape[0] * image_shape[1]}"
        )
    return x, image_shape


def label_values(values: object, n: int, place: Place) -> NDArray[Any]:
    """Labels (n,) as integers or text.

    Raises:
        DataError: They are neither, or not n of them.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        labels = np.asarray(values)
    except ValueError as error:
        raise DataError(f"labels must be {n} integers or names, got rows of them") from error
    if labels.dtype == object and labels.ndim == 1:
        for row, label in enumerate(labels):
            if not isinstance(label, str):
                raise DataError(f"{place(row)} has the label {label!r}, which is no name")
        labels = labels.astype(str)
    if labels.shape != (n,) or labels.dtype.kind not in "iubU":
        hint = ": give their argmax(1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        raise DataError(
            f"labels must be {n} integers or names, got {labels.dtype} of shape "
            f"{labels.shape}{hint}"
        )
    return labels


def encoded(labels: NDArray[Any], known: Sequence[Any], place: Place) -> Tensor:
    """Labels (n,) as places in a list of those known.

    Raises:
        DataError: Naming the first that is not in it.
    """
    index = {value: at for at, value in enumerate(known)}
    found = [index.get(label, -1) for label in labels.tolist()]
    if -1 in found:
        row = found.index(-1)
        many = isinstance(known, range) or len(known) > 10
        which = f"there are {len(known)} classes" if many else f"the classes are {list(known)}"
        raise DataError(f"{place(row)} has the label {labels[row].item()!r}: {which}")
    return torch.tensor(found, dtype=torch.int64)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes as a tuple.

    Raises:
        DataError: They are too few, too many, no names, or two are the same.
    """
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"classes must be a tuple of names, got {classes!r}")
    if not 2 <= len(classes) <= MOST_CLASSES:
        many = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}"
        raise DataError(f"it has {many}: give 2 to {MOST_CLASSES}")
    if len(set(classes)) < len(classes):
        twice = next(name for at, name in enumerate(classes) if name in classes[:at])
        raise DataError(f"two classes are called {twice!r}")
    return tuple(classes)


def check_shape(image_shape: object) -> Shape:
    """Rows and columns of images, or None for a table.

    Raises:
        DataError: It is neither.
    """
    if image_shape is None:
        return None
    sides = tuple(image_shape) if isinstance(image_shape, tuple | list | torch.Size) else ()
    if len(sides) == 3:
        raise DataError(
            f"its images have shape {sides}: give rows and columns; make colour images grey (the "
            "mean over the channels), or give them flattened, as a table (image_shape=None)"
        )
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise DataError(f"its images have shape {image_shape!r}: give rows and columns")
    return sides


def check_images(x: Tensor, y: Tensor, features: int, classes: int) -> None:
    """Check that x (n, features) and y (n,) are images and labels a model can be tried on.

    Raises:
        DataError: Naming the first offender.
    """
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise DataError(
            f"images and labels must be torch tensors, got {type(x).__name__} and "
            f"{type(y).__name__}: use torch.as_tensor"
        )
    if x.dim() != 2 or x.shape[1] != features or len(x) == 0 or not x.is_floating_point():
        hint = ": flatten them with x.flatten(1)" if x.dim() > 2 else ""
        raise DataError(
            f"images must be floating point of shape (n, {features}), "
            f"got {x.dtype} of shape {tuple(x.shape)}{hint}"
        )
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise DataError(
            f"labels must be integers of shape ({len(x)},), got {y.dtype} of shape {tuple(y.shape)}"
        )
    place = "image {}".format
    UNIT.scaled(x.detach().cpu().double(), place)
    encoded(y.numpy(force=True), range(classes), place)


def _numbers(values: object) -> Tensor:
    """Real numbers as a float64 tensor on the CPU."""
    if not isinstance(values, Tensor):
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise DataError("images or rows differ in size: all must have the same") from error
        if array.dtype.kind not in "biuf":
            got = type(values).__name__ if array.dtype == object else f"{array.dtype}"
            raise DataError(f"images or rows must be numbers, got {got}")
        values = torch.from_numpy(np.array(array, np.float64))
    if values.is_complex() or values.layout != torch.strided:
        raise DataError("images or rows must be a dense tensor of real numbers")
    x = values.detach().cpu().double()
    return x[None] if x.dim() == 0 else x
