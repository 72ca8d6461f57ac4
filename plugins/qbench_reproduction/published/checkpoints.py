"""What a folder of the authors' files holds: checkpoints by their names, and images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qbench.datasets import plus_minus
from qbench.datasets.base import Dataset
from qbench.errors import DataError, WeightsError

FOLDER = "model_checkpoints"
_MODELS = {"QVC-ReUp": "reup", "QVC-Amp": "amplitude", "ConvNet": "convnet", "Fourier": "fourier"}
_TRAINING = re.compile(r"-(\d+)_(\d+)(?:reg)?-ep(\d+)\b")


@dataclass(frozen=True)
class Named:
    """What a checkpoint's file name says.

    Args:
        path: The file.
        model: Name of our model that it is for.
        penalty: λ of its training; None where the name does not say.
        epoch: After which epoch it was saved; None where the name does not say.
    """

    path: Path
    model: str
    penalty: float | None
    epoch: int | None


def find(folder: Path) -> tuple[list[Named], list[str]]:
    """The checkpoints of a folder by their file names, and the names of its other files.

    Args:
        folder: It holds `model_checkpoints`, with files such as `QVC-ReUp-8-32-0_1-ep20` (λ = 0.1
            after epoch 20) and `Fourier-32-neurons-0_0reg-ep20`.

    Raises:
        DataError: There is no such folder.
        WeightsError: It holds no checkpoint.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: give one that holds {FOLDER}")
    checkpoints, others = [], []
    inside = folder / FOLDER
    for path in sorted(inside.iterdir() if inside.is_dir() else ()):
        named = _named(path)
        if named is not None:
            checkpoints.append(named)
        elif not path.name.startswith("."):
            others.append(path.name)
    if not checkpoints:
        raise WeightsError(
            f"{inside} holds no checkpoint: their names begin with {', '.join(_MODELS)}"
        )
    return sorted(checkpoints, key=_place), others


def _place(named: Named) -> tuple[int, float, int]:
    """One model after the other, later epochs after earlier ones."""
    return list(_MODELS.values()).index(named.model), named.penalty or 0.0, named.epoch or 0


def _named(path: Path) -> Named | None:
    for prefix, model in _MODELS.items():
        if path.name.startswith(prefix):
            said = _TRAINING.search(path.name)
            if said is None:
                return Named(path, model, None, None)
            whole, part, epoch = said.groups()
            return Named(path, model, float(f"{whole}.{part}"), int(epoch))
    return None


def images(folder: Path) -> Dataset:
    """The authors' images: PNGs in `dataset`, or else the only HDF5 file of the folder.

    Raises:
        DataError: There are none, or they are others than the authors'.
    """
    dataset = folder / "dataset"
    if dataset.is_dir():
        return plus_minus.read(dataset)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".h5", ".hdf5"))
    if len(files) != 1:
        raise DataError(
            f"{folder} holds no folder dataset with dataset_train and dataset_test, and "
            f"{len(files) or 'no'} HDF5 files: give one of them"
        )
    return plus_minus.read(files[0])
