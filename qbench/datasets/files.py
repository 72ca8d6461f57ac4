"""What the loaders of other people's images share: extras, resizing, frozen choices."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from qbench.errors import DataError
from qbench.extras import install_command

SIDE = 16
Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]
_PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}


def optional(module: str, needed_by: str) -> ModuleType:
    """Import a module of the extra `data`.

    Raises:
        DataError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        package = _PACKAGES.get(name, name)
        raise DataError(f"{needed_by} needs {package}: {install_command('data')}") from error


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
