"""The data set `plus-minus`: the images of Wendlinger et al. 2024, from a copy of one's own.

PennyLane Datasets publishes them under CC BY-SA 4.0 as an HDF5 file
(`qml.data.load("other", name="plus-minus")`); a checkout of the authors' repository holds them as
PNGs of 18x18 pixels.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from qbench.datasets.base import Dataset
from qbench.datasets.files import cropped, optional
from qbench.datasets.reading import read_png
from qbench.errors import DataError

VARIABLE = "QBENCH_PLUS_MINUS"
CLASSES = ("-", "+", "⊢", "⊣")


def load() -> Dataset:
    """The images from the HDF5 file or the folder that QBENCH_PLUS_MINUS names.

    A folder holds `dataset_train/class_K/*.png` and `dataset_test/class_K/*.png`; files are taken
    class by class, sorted by name as text.

    Raises:
        DataError: The variable is not set, or what it names does not hold the images.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        raise DataError(
            f"data set 'plus-minus' is not shipped: set {VARIABLE} to its HDF5 file from PennyLane "
            "Datasets ('other/plus-minus') or to a folder with dataset_train and dataset_test"
        )
    path = Path(name)
    if not path.exists():
        raise DataError(f"{VARIABLE} names {path}, which does not exist")
    return read(path)


def read(path: Path) -> Dataset:
    """The images from an HDF5 file or a folder, as `load`.

    Raises:
        DataError: It does not hold the images.
    """
    if path.is_dir():
        parts = [*_folder(path / "dataset_train"), *_folder(path / "dataset_test")]
    else:
        parts = _hdf5(path)
    return Dataset.from_arrays(*parts, name="plus-minus", classes=CLASSES)


def _folder(root: Path) -> tuple[Any, Any]:
    images, labels = [], []
    for label in range(len(CLASSES)):
        files = sorted((root / f"class_{label}").glob("*.png"), key=lambda file: file.name)
        if not files:
            raise DataError(f"there are no PNG files in {root / f'class_{label}'}")
        for file in files:
            images.append(read_png(file))
            if images[-1].shape != (18, 18):
                raise DataError(f"{file} has {images[-1].shape} pixels, expected (18, 18)")
            labels.append(label)
    return cropped(np.stack(images)), labels


def _hdf5(path: Path) -> list[Any]:
    h5py = optional("h5py", "data set 'plus-minus'")
    try:
        with h5py.File(path) as file:
            arrays = {
                # [()] refuses a group, whose names np.asarray would take for the data
                f"{kind}_{split}": np.asarray(file[f"{kind}_{split}"][()])
                for kind in ("img", "labels")
                for split in ("train", "test")
            }
    except (OSError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no HDF5 file with img_train, labels_train, img_test, labels_test: {error}"
        ) from error
    for split in ("train", "test"):
        if arrays[f"img_{split}"].shape[1:] != (16, 16):
            raise DataError(f"{path}: img_{split} has shape {arrays[f'img_{split}'].shape}")
    return [arrays[f"{kind}_{split}"] for split in ("train", "test") for kind in ("img", "labels")]
