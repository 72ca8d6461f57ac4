"""From images, rows and labels as somebody has them to the splits of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from qbench.datasets.splits import (
    UNIT,
    Place,
    Range,
    Shape,
    Split,
    check_classes,
    check_shape,
    encoded,
    flattened,
    label_values,
)
from qbench.errors import DataError

FeatureRange = Literal["train"] | Sequence[float] | Sequence[Sequence[float]] | None


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the author says of the data; see `base.Dataset.from_arrays`."""

    classes: Sequence[str] | None = None
    image_shape: Shape = None
    feature_range: FeatureRange = None
    feature_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Given:
    """A split as it is handed in.

    Args:
        x, y: Images or rows, and labels.
        places: What each is called in messages; by default `image 3` or `row 3`.
    """

    x: Any
    y: Any
    places: Sequence[str] = field(default=())

    def place(self, image_shape: Shape) -> Place:
        """What an image or a row is called."""
        noun = "row" if image_shape is None else "image"
        return lambda row: self.places[row] if self.places else f"{noun} {row}"


@dataclass(frozen=True)
class Form:
    """What the splits of a data set have in common.

    Args:
        image_shape: Rows and columns, None for a table.
        features: How many there are.
        classes: Names by label.
        values: Labels as they are handed in, by label; None for integers or names of classes.
        range: What is mapped to [0, 1].
        clip: Whether values outside it are moved into it instead of refused.
        names: Of the features of a table.
    """

    image_shape: Shape
    features: int
    classes: tuple[str, ...]
    values: Sequence[Any] | None = None
    range: Range = UNIT
    clip: bool = False
    names: tuple[str, ...] | None = None

    def split(self, given: Given) -> Split:
        """What is handed in, checked, as float32 in [0, 1] with labels 0, 1, ....

        Raises:
            DataError: Naming image or row, and fault.
        """
        x, shape = flattened(given.x, self.image_shape, given.place(self.image_shape))
        place = given.place(self.image_shape)
        if shape != self.image_shape or x.shape[1] != self.features:
            raise DataError(
                f"{place(0)} has {x.shape[1]} features, the training data have {self.features}"
            )
        if self.clip:
            x = torch.where(x.isnan(), x, x.clamp(self.range.low, self.range.high))
        names = self.names or [f"feature {at}" for at in range(self.features)]
        x = self.range.scaled(x, place, None if self.image_shape else names)
        labels = label_values(given.y, len(x), place)
        known = self.values
        if known is None:
            known = self.classes if labels.dtype.kind == "U" else range(len(self.classes))
        return Split(x, encoded(labels, known, place))


@contextmanager
def about(what: str) -> Iterator[None]:
    """Messages of what goes wrong in the block begin with what it is about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{what}: {error}") from error


def given(split: object) -> Given:
    """A split as images and labels.

    Raises:
        DataError: It is no `Split` and no pair.
    """
    if isinstance(split, Split):
        return Given(split.x, split.y)
    if isinstance(split, tuple | list) and len(split) == 2:
        return Given(*split)
    raise DataError(f"a {type(split).__name__} instead of a Split or a pair (x, y)")


@dataclass(frozen=True)
class Built:
    """Both splits, and what they have in common."""

    form: Form
    train: Split
    test: Split


def build(given: Sequence[Given], declared: Declared) -> Built:
    """Both splits, in the form that the declarations and the training data give them.

    Args:
        given: The training and the test data.
        declared: What their author says of them.

    Raises:
        DataError: Naming split, image or row, and fault.
    """
    train, test = given
    shape = check_shape(declared.image_shape)
    with about("train"):
        x, shape = flattened(train.x, shape, train.place(shape))
        labels = label_values(train.y, len(x), train.place(shape))
    values = None if declared.classes is not None else np.unique(labels).tolist()
    form = Form(
        image_shape=shape,
        features=x.shape[1],
        classes=check_classes(declared.classes or [str(value) for value in values or ()]),
        values=values,
        range=_range(declared.feature_range, x, shape),
        clip=isinstance(declared.feature_range, str),
        names=_names(declared.feature_names, x.shape[1], shape),
    )
    with about("train"):
        first = form.split(train)
    with about("test"):
        return Built(form, first, form.split(test))


def _range(declared: FeatureRange, x: Tensor, shape: Shape) -> Range:
    """What is mapped to [0, 1]; of "train", all pixels of images have one range."""
    if declared is None:
        return UNIT
    if isinstance(declared, str):
        if declared != "train":
            raise DataError(f"feature_range is {declared!r}: give (low, high), pairs, or 'train'")
        low, high = (x.min(), x.max()) if shape else (x.min(0).values, x.max(0).values)
    else:
        try:
            low, high = torch.tensor(declared, dtype=torch.float64).unbind(-1)
        except (TypeError, ValueError, RuntimeError, IndexError):
            low = high = torch.zeros(0)
        if low.shape not in ((), (x.shape[1],)):
            raise DataError(
                "feature_range must be (low, high), one such pair for each of the "
                f"{x.shape[1]} features, or 'train'"
            )
    good = low.isfinite() & high.isfinite() & (low < high)
    if not bool(good.all()):
        at = int((~good.reshape(-1)).nonzero()[0])
        pair = f"[{float(low.reshape(-1)[at]):g}, {float(high.reshape(-1)[at]):g}]"
        raise DataError(f"feature {at} has the range {pair}, which cannot be mapped to [0, 1]")
    return Range(low, high)


def _names(names: Sequence[str] | None, features: int, shape: Shape) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or shape is not None or len(names) != features:
        raise DataError(f"feature_names must be {features} names of a table's features")
    return tuple(str(name) for name in names)
