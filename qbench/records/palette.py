"""Images of few different pixel values: the values once, and for each pixel which of them it has.

A perturbed image mostly has x + ε, x - ε or x at a pixel, for the few x of the original. Stored so,
the worst images take a third less than as numbers. Bytes of one significance stand side by side:
those of high significance repeat, and compress well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_palette(images: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The values (4, v), the most frequent first, and the place in them of every pixel (b, k, d).

    Both are bytes of numbers, the least significant first; b is as small as v allows.

    Args:
        images: (k, d).
    """
    bits = np.ascontiguousarray(images, "<f4").view("<u4")  # no number is lost: NaN, -0.0
    values, place, count = np.unique(bits, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    rank = np.empty(len(order), "<u4")
    rank[order] = np.arange(len(order))
    used = 1 if len(order) <= 2**8 else 2 if len(order) <= 2**16 else 4
    places = _bytes(rank[place].reshape(bits.shape))
    return _bytes(values[order]), places[:used]


def from_palette(values: NDArray[np.uint8], places: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The images (k, d) of `to_palette`.

    Raises:
        ValueError: The arrays are not such, or a place is beyond the values.
    """
    if not (
        values.dtype == places.dtype == np.uint8
        and (values.ndim, places.ndim) == (2, 3)
        and len(values) == 4
        and len(places) in (1, 2, 4)
    ):
        raise ValueError("not values and the places of pixels in them")
    whole = np.zeros((4, *places.shape[1:]), np.uint8)
    whole[: len(places)] = places
    place = _numbers(whole)
    if place.size and place.max() >= values.shape[1]:
        raise ValueError("a pixel has a value that is not there")
    images: NDArray[np.float32] = _numbers(values)[place].view("<f4").astype(np.float32)
    return images


def _bytes(numbers: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(4, ...) bytes of (...) numbers."""
    rows = np.ascontiguousarray(numbers, "<u4").view(np.uint8).reshape(*numbers.shape, 4)
    return np.ascontiguousarray(np.moveaxis(rows, -1, 0))


def _numbers(planes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    numbers: NDArray[np.uint32] = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<u4")
    return numbers[..., 0]
