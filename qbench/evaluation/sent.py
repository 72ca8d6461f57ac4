"""The file of adversarial images that somebody sends: two arrays of numbers, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.errors import UsageError
from qbench.evaluation.crafting import allowed
from qbench.files import read_file
from qbench.records.columns import fingerprint, from_npz
from qbench.specs import ThreatModel

LARGEST = 64 * 2**20  # bytes of a file that is sent, and of what it inflates to
_NEEDED, _ALLOWED = {"x_adv", "image"}, {"x_adv", "image", "seed", "eps"}


@dataclass(frozen=True)
class Sent:
    """What a file says.

    Args:
        image: (k,) places among the protocol's images, ascending.
        x_adv: (k, features) float32.
        seed, eps: Of the model and of the budget, where the file names them.
    """

    image: NDArray[np.int16]
    x_adv: NDArray[np.float32]
    seed: int | None = None
    eps: float | None = None

    @property
    def sha256(self) -> str:
        """Fingerprint of the images and of their places."""
        return fingerprint({"image": self.image, "x_adv": self.x_adv})


def read_images(path: Path) -> Sent:
    """The images in a `.npz` that somebody sent.

    Raises:
        StoreError: It is no regular file, too large, or no `.npz` of numbers.
        UsageError: Its arrays are not those that are asked for.
    """
    arrays = from_npz(read_file(path, LARGEST), str(path), LARGEST)
    if arrays.keys() - _ALLOWED or _NEEDED - arrays.keys():
        found = ", ".join(sorted(arrays)) or "nothing"
        raise UsageError(f"{path} holds {found[:200]}: it must hold x_adv and image")
    x_adv, image = arrays["x_adv"], arrays["image"]
    if x_adv.dtype != np.float32 or x_adv.ndim != 2:
        raise UsageError(
            f"{path}: x_adv is {x_adv.dtype} of shape {x_adv.shape}: give float32 (k, features)"
        )
    if image.dtype.kind not in "iu" or image.shape != x_adv.shape[:1] or not len(image):
        raise UsageError(
            f"{path}: image is {image.dtype} of shape {image.shape}: give one integer for each of "
            f"the {len(x_adv)} images in x_adv, and at least one"
        )
    numbers = [int(place) for place in image]
    if min(numbers) < 0 or max(numbers) > np.iinfo(np.int16).max:
        raise UsageError(f"{path}: image counts from 0, and no protocol has so many images")
    if any(after <= before for before, after in pairwise(numbers)):
        raise UsageError(f"{path}: image must be ascending, and name no image twice")
    return Sent(
        np.array(numbers, np.int16), x_adv, _one(path, arrays, "seed"), _one(path, arrays, "eps")
    )


def _one(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> Any:
    """The one number of an array; None where the file has no such array."""
    if name not in arrays:
        return None
    value, kinds = arrays[name], "iu" if name == "seed" else "iuf"
    if value.size != 1 or value.dtype.kind not in kinds:
        word = "integer" if name == "seed" else "number"
        raise UsageError(f"{path}: {name} must be one {word}")
    return value.reshape(-1)[0].item()


def check(sent: Sent, x: Tensor, threat: ThreatModel) -> None:
    """Check that every image sent may stand for one of the protocol's images x (n, features).

    Raises:
        UsageError: Naming the first image that may not, and why.
    """
    image, x_adv = sent.image.astype(np.int64), torch.from_numpy(sent.x_adv)
    if x_adv.shape[1] != x.shape[1]:
        raise UsageError(f"x_adv has {x_adv.shape[1]} features, the images have {x.shape[1]}")
    if image[-1] >= len(x):
        raise UsageError(f"there is no image {image[-1]}: there are {len(x)}, counted from 0")
    original = x[image]
    limits = [
        *allowed(x_adv, original, threat, beyond="is too far from its original"),
        ((x_adv != original).any(1), "is its original, unchanged: leave it out"),
    ]
    for good, complaint in limits:
        if not bool(good.all()):
            first = int(image[int((~good).nonzero()[0, 0])])
            raise UsageError(f"image {first} ({int((~good).sum())} in all) {complaint}")
