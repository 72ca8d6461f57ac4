"""What the loaders of other people's images share: extras, hashes, resizing, frozen choices."""

from __future__ import annotations

import hashlib
import importlib
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qbench.datasets.base import Dataset, Split, check_images
from qbench.errors import DataError

SIDE = 16
Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]


def optional(module: str, dataset: str) -> ModuleType:
    """Import a module of the extra `data`.

    Raises:
        DataError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"data set {dataset!r} needs {error.name}: pip install 'qbench-robustness[data]'"
        ) from error


def dataset(
    name: str, classes: tuple[str, ...], train: tuple[Any, Any], test: tuple[Any, Any]
) -> Dataset:
    """A data set of images (n, 16, 16) in [0, 1] and labels (n,); its hash is that of both.

    Raises:
        DataError: They are not such images and labels.
    """
    digest = hashlib.sha256()
    splits = []
    for kind, (images, labels) in (("train", train), ("test", test)):
        x = np.ascontiguousarray(images, np.float32).reshape(len(images), SIDE * SIDE)
        y = np.asarray(labels)
        if y.shape != (len(x),) or y.dtype.kind not in "iu":
            raise DataError(
                f"data set {name!r}, {kind}: labels must be {len(x)} integers, "
                f"got {y.dtype} of shape {y.shape}"
            )
        y = np.ascontiguousarray(y, np.int64)
        split = Split(torch.from_numpy(x), torch.from_numpy(y))
        try:
            check_images(split.x, split.y, SIDE * SIDE, len(classes))
        except DataError as error:
            raise DataError(f"data set {name!r}, {kind}: {error}") from error
        digest.update(x.tobytes() + y.tobytes())
        splits.append(split)
    first, second = splits
    return Dataset(name, 1, digest.hexdigest(), (SIDE, SIDE), classes, first, second)


def resized(images: Pixels, side: int) -> Pixels:
    """Images (n, h, w) resized bilinearly to (n, side, side)."""
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], (side, side), mode="bilinear", antialias=True
    )
    return np.asarray(scaled[:, 0].clamp(0, 1).numpy(), np.float32)


def cropped(images: Pixels) -> Pixels:
    """The central 16x16 pixels of images (n, 18, 18)."""
    return images[:, 1:17, 1:17]


def balanced(labels: Labels, each: int) -> NDArray[np.intp]:
    """Indices of the first `each` images of every class, in their order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in np.unique(labels)]))
