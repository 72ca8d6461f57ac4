"""What a data set is, and what its images must be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.errors import DataError


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
        sha256: Of its content.
        image_shape: Rows and columns.
        classes: Names of the classes by label.
        train, test: The two splits.
    """

    name: str
    version: int
    sha256: str
    image_shape: tuple[int, int]
    classes: tuple[str, ...]
    train: Split
    test: Split


def check_images(x: Tensor, y: Tensor, features: int, classes: int) -> None:
    """Check that x (n, features) and y (n,) are images and labels a model can be tried on.

    Raises:
        DataError: Naming the first offender.
    """
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
