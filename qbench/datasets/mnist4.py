"""The data set `mnist4`: MNIST digits 0-3 (LeCun et al. 1998), 16x16."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset
from qbench.datasets.files import balanced, cropped, resized
from qbench.errors import DataError
from qbench.files import write_atomically

VARIABLE = "QBENCH_MNIST"
MIRROR = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = {  # SHA-256
    "train-images-idx3-ubyte.gz":
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz":
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}  # fmt: skip
_TRAIN_EACH, _TEST_EACH = 250, 50


def load() -> Dataset:
    """250 training and 50 test images a class, the first of each, resized to 18 and cropped to 16.

    The standard IDX files are read from the folder QBENCH_MNIST, by default
    ~/.cache/qbench/mnist, and downloaded into it when they are missing.

    Raises:
        DataError: A file cannot be downloaded, or is not the standard one.
    """
    folder = Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "qbench" / "mnist")
    contents = [_file(folder, name, sha256) for name, sha256 in FILES.items()]
    parts: list[Any] = []
    for images, labels, each in (
        (contents[0], contents[1], _TRAIN_EACH),
        (contents[2], contents[3], _TEST_EACH),
    ):
        y = _idx(labels).astype(np.int64)
        chosen = balanced(np.where(y < 4, y, 4), each)
        chosen = chosen[y[chosen] < 4]
        pixels = _idx(images)[chosen].astype(np.float32) / np.float32(255)
        # 8 bits, so that last-bit differences between machines do not change the hash
        images8 = np.rint(255 * cropped(resized(pixels, 18))) / np.float32(255)
        parts += [images8, y[chosen]]
    return Dataset.from_arrays(*parts, name="mnist4", classes=("0", "1", "2", "3"))


def _file(folder: Path, name: str, sha256: str) -> bytes:
    path = folder / name
    if not path.exists():
        try:
            with urllib.request.urlopen(MIRROR + name, timeout=60) as response:
                content: bytes = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise DataError(
                f"cannot download {MIRROR}{name} ({error}): put the four standard IDX files into "
                f"{folder} yourself, or name their folder in {VARIABLE}"
            ) from error
        _check(content, name, sha256, "the download")
        write_atomically(path, content)
    content = path.read_bytes()
    _check(content, name, sha256, str(path))
    return gzip.decompress(content)


def _check(content: bytes, name: str, sha256: str, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{where} is not the standard {name}: SHA-256 is {found}, not {sha256}")


def _idx(content: bytes) -> NDArray[np.uint8]:
    shape = np.frombuffer(content, ">u4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(tuple(shape))
