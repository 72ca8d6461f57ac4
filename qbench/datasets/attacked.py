"""Images and labels as people have them: a data set, arrays, a `DataLoader`, a torch data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.splits import MOST_CLASSES
from qbench.errors import DataError, UsageError
from qbench.plugin_files import PluginFile

Box = tuple[float, float] | None


@dataclass(frozen=True)
class AttackedImages:
    """Images and labels that were handed in.

    Args:
        split: Images (n, features), float32 unless they came as a float64 tensor, and labels (n,).
        image_shape: Of one image, with its channels if it has such an axis; None for a row.
        input_shape: As in `specs.ThreatModel`; None where nobody said.
    """

    split: Split
    image_shape: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None


def attacked_images(
    data: Any, box: Box = (0.0, 1.0), plugins: tuple[PluginFile, ...] = ()
) -> AttackedImages:
    """Images and labels out of what was handed in.

    Args:
        data: The name of a data set, or a `Dataset`, whose test images are taken; a `Split`; a pair
            of images (n, ...) and labels (n,), as arrays, tensors or lists; a `DataLoader` or a
            torch data set of such pairs. Labels may be one-hot rows (n, classes).
        box: Range of the pixels, or None for none.
        plugins: Plugins given as files, for names.

    Raises:
        UnknownNameError: There is no data set of this name.
        UsageError: It is nothing of that kind, or the box is no range.
        DataError: The images or labels cannot be used.
    """
    check_box(box)
    shape: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    if isinstance(data, str):
        data = load_data(data, plugins)
    if isinstance(data, Dataset):
        shape, input_shape, data = data.image_shape, data.input_shape, data.test
    x, y = _pair(data)
    x, y = _images(x), _labels(y)
    if len(x) == 0:
        raise DataError("there are no images: give at least one")
    if len(x) != len(y):
        raise DataError(f"there are {len(x)} images and {len(y)} labels: give one label an image")
    if x.dim() > 2:
        shape = tuple(x.shape[1:])
        sides = shape[1:] if shape[0] == 1 else shape
        input_shape = sides if len(sides) == 2 else (math.prod(shape),)
    x = x.reshape(len(x), -1)
    _check_range(x, box)
    return AttackedImages(Split(x, y), shape, input_shape)


def check_labels(y: Tensor, classes: int) -> None:
    """Raise `DataError` for a label (n,) that is none of so many classes."""
    beyond = (y >= classes).nonzero()[:, 0]
    if len(beyond):
        raise DataError(
            f"image {int(beyond[0])} ({len(beyond)} in all) has the label {int(y[beyond[0]])}: the "
            f"model has {classes} classes, 0 to {classes - 1}"
        )


def check_box(box: Any) -> None:
    """Raise `UsageError` for a box that is no range of pixels."""
    if box is None:
        return
    try:
        low, high = box
        fine = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise UsageError(
            f"box is the smallest and the largest pixel, e.g. (0, 1), or None for no bound: {box!r}"
        )


def _pair(data: Any) -> tuple[Any, Any]:
    if isinstance(data, Split):
        return data.x, data.y
    if isinstance(data, DataLoader):
        return _joined(data, "DataLoader")
    if isinstance(data, TorchDataset):
        loader = DataLoader(data, batch_size=256)
        return _joined(loader, type(data).__name__)
    if isinstance(data, tuple | list) and len(data) == 2:
        return data[0], data[1]
    size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
    raise UsageError(
        f"data is a {type(data).__name__}{size}: give the name of a data set, a Dataset, a Split, "
        "a pair of images and labels, a DataLoader or a torch Dataset"
    )


def _joined(batches: Iterable[Any], name: str) -> tuple[Any, Any]:
    pairs: list[Sequence[Any]] = []
    try:
        pairs += batches
    except TypeError as error:  # what torch cannot put into a batch, such as pictures
        raise DataError(
            f"the {name} gives what is no tensor: add a transform such as ToTensor ({error})"
        ) from error
    if not pairs:
        raise DataError(f"the {name} is empty: give at least one image")
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise DataError(f"the {name} gives no pairs of images and labels")
    images, labels = zip(*pairs, strict=True)
    return torch.cat([_numbers(x, "images") for x in images]), torch.cat(
        [_numbers(y, "labels") for y in labels]
    )


def _numbers(values: Any, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise DataError(f"{what} hold {array.dtype.name}, not numbers")
        return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")).copy())
    except (ValueError, TypeError) as error:
        raise DataError(f"{what} are no array of numbers: {error}") from error


def _images(values: Any) -> Tensor:
    given = isinstance(values, Tensor) and values.dtype == torch.float64
    x = _numbers(values, "images")
    if x.is_complex() or x.dim() < 2:
        raise DataError(
            f"images must be numbers of shape (n, ...), got {x.dtype} of shape {tuple(x.shape)}"
        )
    return x if given else x.float()


def _labels(values: Any) -> Tensor:
    y = _numbers(values, "labels")
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dim() == 2:
        if not bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all()):
            raise DataError(
                f"labels of shape {tuple(y.shape)} must be one-hot: a single 1 in each row, else 0"
            )
        return y.int().argmax(1)
    if y.dim() != 1 or y.is_complex():
        raise DataError(f"labels must be integers of shape (n,), got shape {tuple(y.shape)}")
    whole = y.long()
    if bool((whole != y).any()):
        raise DataError(f"label {float(y[whole != y][0]):g} is no class: give integers from 0")
    if len(whole) and not 0 <= int(whole.min()) <= int(whole.max()) < MOST_CLASSES:
        bad = int(whole.min()) if int(whole.min()) < 0 else int(whole.max())
        raise DataError(f"label {bad} is no class: give integers from 0 to {MOST_CLASSES - 1}")
    return whole


def _check_range(x: Tensor, box: Box) -> None:
    low, high = (-math.inf, math.inf) if box is None else box
    good = x.isfinite() & (x >= low) & (x <= high)
    bad = (~good.all(1)).nonzero()[:, 0]
    if not len(bad):
        return
    value = float(x[bad[0]][~good[bad[0]]][0])
    which = f"image {int(bad[0])} ({len(bad)} in all) has the pixel {value:g}"
    if not math.isfinite(value):
        raise DataError(f"{which}: give finite numbers")
    pixels = f"box=({float(x.min()):g}, {float(x.max()):g})"
    raise DataError(
        f"{which}, outside [{low:g}, {high:g}]: scale the images, or say their range, e.g. "
        f"{'box=(0, 255)' if float(x.min()) >= 0 and 1 < float(x.max()) <= 255 else pixels}, or "
        "box=None for no bound"
    )
