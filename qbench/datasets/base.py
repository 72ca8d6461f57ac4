"""What a data set is, and what its images must be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from qbench.errors import DataError
from qbench.registry import PluginFile, load_registry

MOST_CLASSES = 32_767  # labels are kept in 16 bits


@dataclass(frozen=True)
class Split:
    """Images and labels.

    Args:
        x: float32 (n, features) in [0, 1], row-major flattened images.
        y: int64 (n,) class labels.
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Dataset:
    """A frozen set of images.

    Args:
        name, version: As in records.
        sha256: Of its content. `load_data` computes it, whatever stands here.
        image_shape: Rows and columns.
        classes: Names of the classes by label.
        train, test: The two splits.
        fresh: Makes n new test images, always the same ones and none of the test images, where
            the data set can.
    """

    name: str
    version: int
    sha256: str
    image_shape: tuple[int, int]
    classes: tuple[str, ...]
    train: Split
    test: Split
    fresh: Callable[[int], Split] | None = None


@lru_cache(maxsize=4)
def load_data(name: str, plugins: tuple[PluginFile, ...] = ()) -> Dataset:
    """A data set by name, checked, with the SHA-256 of its images and labels.

    Raises:
        UnknownNameError: There is no such data set.
        DataError: It does not load, or is no such data set.
    """
    made = load_registry(plugins).get("dataset", name).create()
    try:
        dataset = _checked(name, made)
    except DataError as error:
        raise DataError(f"data set {name!r}: {error}") from error
    train, test = (_plain(split) for split in (dataset.train, dataset.test))
    return replace(
        dataset,
        train=train,
        test=test,
        sha256=_sha256(dataset.image_shape, train, test),
        fresh=None if dataset.fresh is None else partial(_fresh, dataset),
    )


def _plain(split: Split) -> Split:
    return Split(split.x.contiguous(), split.y.long())


def _fresh(dataset: Dataset, n: int) -> Split:
    """What a data set makes as n new images, checked as its other images are."""
    assert dataset.fresh is not None
    try:
        split = dataset.fresh(n)
        _check_split(split, dataset)
        if len(split.y) != n:
            raise DataError(f"{len(split.y)} images instead of {n}")
    except DataError as error:
        raise DataError(f"data set {dataset.name!r}: new images: {error}") from error
    return _plain(split)


def _checked(name: str, dataset: object) -> Dataset:
    if not isinstance(dataset, Dataset):
        raise DataError(f"its factory made a {type(dataset).__name__}, not a Dataset")
    if dataset.name != name:
        raise DataError(f"it calls itself {dataset.name!r}")
    if not 2 <= len(dataset.classes) <= MOST_CLASSES:
        raise DataError(f"it has {len(dataset.classes)} classes: give 2 to {MOST_CLASSES}")
    shape = dataset.image_shape
    if len(shape) != 2 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise DataError(f"its images have shape {shape}: give rows and columns")
    for kind in ("train", "test"):
        try:
            _check_split(getattr(dataset, kind), dataset)
        except DataError as error:
            raise DataError(f"{kind}: {error}") from error
    return dataset


def _check_split(split: object, dataset: Dataset) -> None:
    if not isinstance(split, Split):
        raise DataError(f"a {type(split).__name__} instead of a Split")
    rows, columns = dataset.image_shape
    check_images(split.x, split.y, rows * columns, len(dataset.classes))
    if split.x.dtype != torch.float32:
        raise DataError(f"images are {split.x.dtype}: give float32")


def _sha256(shape: tuple[int, int], *splits: Split) -> str:
    digest = hashlib.sha256(f"{shape}".encode())
    for split in splits:
        for values in (split.x, split.y):
            digest.update(f"{tuple(values.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()


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
        raise DataError(
            f"images must be floating point of shape (n, {features}), "
            f"got {x.dtype} of shape {tuple(x.shape)}"
        )
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise DataError(
            f"labels must be integers of shape ({len(x)},), got {y.dtype} of shape {tuple(y.shape)}"
        )
    bad = (~((x >= 0) & (x <= 1)).all(1)).nonzero()[:, 0]
    if len(bad):
        row = x[bad[0]]
        value = row[~((row >= 0) & (row <= 1))][0]
        raise DataError(
            f"image {int(bad[0])} ({len(bad)} in all) has the pixel {value:g}, outside [0, 1]: "
            "scale the images"
        )
    bad = ((y < 0) | (y >= classes)).nonzero()[:, 0]
    if len(bad):
        raise DataError(
            f"image {int(bad[0])} has the label {int(y[bad[0]])}: there are {classes} classes"
        )
