"""Data sets bundled with scikit-learn, images and tables: no network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset
from qbench.datasets.files import SIDE, balanced, optional, resized

_DIGITS_EACH = 35  # test images of about 180 a class
_FLOWERS_EACH = 17  # test flowers of 50 a class
_WINES_EACH = 16  # test wines of 48 to 71 a class
_TUMOURS_EACH = 50  # test tumours of 212 and 357 a class
# Round centimetres that hold every flower: nothing of the test flowers is in the scale.
_CENTIMETRES = {
    "sepal length": (4.0, 8.0),
    "sepal width": (2.0, 4.5),
    "petal length": (1.0, 7.0),
    "petal width": (0.0, 2.5),
}


def digits() -> Dataset:
    """All ten digits, 8x8: the first 35 images a class for testing, 1447 for training.

    Raises:
        DataError: scikit-learn is not installed.
    """
    found = _sklearn("digits").load_digits()
    names = tuple(str(digit) for digit in range(10))
    images = found.images.astype(np.float32) / 16
    return _divided("digits", images, found.target, _DIGITS_EACH, classes=names)


def digits4() -> Dataset:
    """The digits 0-3, upsampled to 16x16: the first 35 images a class for testing.

    Raises:
        DataError: scikit-learn is not installed.
    """
    found = _sklearn("digits4").load_digits(n_class=4)
    images = resized(found.images.astype(np.float32) / 16, SIDE)
    return _divided("digits4", images, found.target, _DIGITS_EACH, classes=("0", "1", "2", "3"))


def iris() -> Dataset:
    """Fisher's flowers, four lengths each: the first 17 flowers a class for testing.

    Raises:
        DataError: scikit-learn is not installed.
    """
    found = _sklearn("iris").load_iris()
    return _divided(
        "iris",
        found.data,
        found.target,
        _FLOWERS_EACH,
        classes=tuple(str(name) for name in found.target_names),
        feature_names=tuple(_CENTIMETRES),
        feature_range=tuple(_CENTIMETRES.values()),
    )


def wine() -> Dataset:
    """Wines of three cultivars, 13 measurements each: the first 16 wines a class for testing.

    Smallest and largest training value of each measurement are mapped to 0 and 1.

    Raises:
        DataError: scikit-learn is not installed.
    """
    return _table("wine", _sklearn("wine").load_wine(), _WINES_EACH)


def breast_cancer() -> Dataset:
    """Malignant and benign tumours, 30 measurements each: the first 50 a class for testing.

    Smallest and largest training value of each measurement are mapped to 0 and 1.

    Raises:
        DataError: scikit-learn is not installed.
    """
    found = _sklearn("breast-cancer").load_breast_cancer()
    return _table("breast-cancer", found, _TUMOURS_EACH)


def _table(name: str, found: Any, each: int) -> Dataset:
    return _divided(
        name,
        found.data,
        found.target,
        each,
        classes=tuple(str(one) for one in found.target_names),
        feature_names=tuple(str(one) for one in found.feature_names),
        feature_range="train",
    )


def _sklearn(dataset: str) -> Any:
    return optional("sklearn.datasets", f"data set {dataset!r}")


def _divided(name: str, x: NDArray[Any], y: NDArray[Any], each: int, **declared: Any) -> Dataset:
    """The first of every class for testing, the rest for training."""
    test = balanced(y, each)
    train = np.setdiff1d(np.arange(len(y)), test)
    return Dataset.from_arrays(x[train], y[train], x[test], y[test], name=name, **declared)
