"""The data set `glyphs`, version 1: four glyphs - + ⊢ ⊣, drawn by us and frozen.

A glyph is made of a horizontal and a vertical stroke of constant width, turned together about
the image centre and blurred. Both are boxes in the turned coordinates, and a Gaussian blur of a
box is a product of differences of error functions, so every pixel has a closed form: no drawing
library, no resampling. The pixels are then quantised to 8 bits and frozen in `glyphs-v1.npz`.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qbench.datasets.base import Dataset, Split
from qbench.errors import DataError

FILE = Path(__file__).with_name("glyphs-v1.npz")
SHA256 = "0d13b74d65e028ad4fe898391d6b3f85367a659458b6ca59cea0e48b81346b17"
CLASSES = ("-", "+", "⊢", "⊣")
SIDE = 16
_SEED = 20240416
_FRESH_SEED = 20261126
_TRAIN, _TEST = 1000, 200

# Calibrated against the images of Wendlinger et al. 2024 (docs/data.md has the comparison).
_ROTATION = math.radians(10)  # uniform in ± this
_OFFSET = 1.0  # of the centre in pixels, uniform in ± this, each way
_WIDTH = (0.86, 2.74)  # of a stroke in pixels, uniform
_BLUR = (0.5, 0.9)  # standard deviation in pixels, uniform

Floats = NDArray[np.float64]
_erf = np.frompyfunc(math.erf, 1, 1)


def load(side: int = SIDE) -> Dataset:
    """The frozen images.

    Args:
        side: Rows and columns: 16, or 8, 4 or 2 for the means over squares of pixels.

    Raises:
        DataError: The file is missing or was changed, or there is no such side.
    """
    if isinstance(side, bool) or side not in (2, 4, 8, SIDE) or not isinstance(side, int):
        raise DataError(f"data set 'glyphs': side must be 2, 4, 8 or {SIDE}, got {side!r}")
    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {FILE}: {error.strerror}; reinstall qbench-robustness"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(
            f"data file {FILE} was changed: SHA-256 is {found}, pinned is {SHA256}; "
            "reinstall qbench-robustness"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        train = _split(arrays["x_train"], arrays["y_train"], side)
        test = _split(arrays["x_test"], arrays["y_test"], side)
    fresh = partial(draw_fresh, side=side)
    return Dataset("glyphs", 1, SHA256, (side, side), CLASSES, train, test, fresh)


@lru_cache(maxsize=4)
def draw_fresh(n: int, side: int = SIDE, seed: int = _FRESH_SEED) -> Split:
    """New images by the generator of the frozen ones, from a seed of their own or another one."""
    return _split(*_images(np.random.Generator(np.random.PCG64(seed)), n), side)


def generate() -> dict[str, NDArray[Any]]:
    """Draw the data set afresh: 8-bit images (n, 16, 16) and labels (n,) of both splits.

    Draws only uniform doubles of PCG64, whose stream no numpy version changes.
    """
    rng = np.random.Generator(np.random.PCG64(_SEED))
    arrays: dict[str, NDArray[Any]] = {}
    for name, n in (("train", _TRAIN), ("test", _TEST)):
        arrays[f"x_{name}"], arrays[f"y_{name}"] = _images(rng, n)
    return arrays


def _images(rng: np.random.Generator, n: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Balanced and shuffled 8-bit images (n, 16, 16) and labels (n,)."""
    labels = np.arange(n) % len(CLASSES)
    labels = labels[np.argsort(rng.random(n), kind="stable")]
    images = _draw(labels, rng.random((5, n)))
    return np.rint(255 * images).astype(np.uint8), labels.astype(np.uint8)


def _draw(labels: NDArray[np.int64], uniform: Floats) -> Floats:
    """Images (n, 16, 16) in [0, 1] of the classes `labels`, from five uniform numbers each."""
    angle = _ROTATION * (2 * uniform[0] - 1)
    x0, y0 = _OFFSET * (2 * uniform[1:3] - 1)
    width = _between(_WIDTH, uniform[3])[:, None, None]
    blur = _between(_BLUR, uniform[4])[:, None, None]
    # Turned coordinates of each pixel: `along` to the right, `up` towards the top.
    centred = np.arange(SIDE) - (SIDE - 1) / 2
    right = centred[None, None, :] - x0[:, None, None]
    top = -centred[None, :, None] - y0[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, up = cos * right + sin * top, cos * top - sin * right

    vertical = _blurred_box(along, -width / 2, width / 2, blur)
    horizontal = _blurred_box(up, -width / 2, width / 2, blur)
    vertical = vertical * (labels != 0)[:, None, None]
    # ⊢ keeps the right half of the horizontal stroke, ⊣ the left one: it begins at the centre.
    side = np.select([labels == 2, labels == 3], [1.0, -1.0])[:, None, None]
    half = np.where(side == 0, 1.0, _blurred_box(side * along, 0.0, np.inf, blur))
    overlap = np.where(side == 0, vertical, _blurred_box(side * along, 0.0, width / 2, blur))
    # The blur of a union is the sum of the blurs minus that of the overlap.
    return np.asarray(vertical + horizontal * (half - overlap), np.float64).clip(0, 1)


def _blurred_box(t: Floats, start: Floats | float, stop: Floats | float, blur: Floats) -> Floats:
    """A box [start, stop] blurred by a Gaussian, at t."""
    scale = blur * math.sqrt(2)
    upper, lower = _erf((stop - t) / scale), _erf((start - t) / scale)
    return np.asarray(upper - lower, np.float64) / 2


def _between(bounds: tuple[float, float], uniform: Floats) -> Floats:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8], side: int) -> Split:
    """Means over squares of pixels, of integers: one division, the same on every machine."""
    each = SIDE // side
    sums = images.reshape(len(images), side, each, side, each).sum((2, 4), dtype=np.int64)
    x = torch.from_numpy(sums.reshape(len(images), -1).astype(np.float32) / (255 * each**2))
    return Split(x, torch.from_numpy(labels.astype(np.int64)))


def encode(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The arrays as the bytes of the frozen file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m qbench.datasets.glyphs OUT.npz")
    content = encode(generate())
    Path(sys.argv[1]).write_bytes(content)
    print(hashlib.sha256(content).hexdigest())
