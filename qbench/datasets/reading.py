"""Reads data of one's own: folders of images, tables, and torch's data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.datasets.building import Built, Declared, Given, about, build
from qbench.datasets.files import optional
from qbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_folder(folder: Path) -> Built:
    """The PNGs of `folder/train/CLASS` and `folder/test/CLASS`, class by class, sorted by name."""
    found = {kind: _files(folder / kind) for kind in ("train", "test")}
    classes = list(found["train"])
    other = sorted(set(found["test"]) ^ set(classes))
    if other:
        raise DataError(f"class {other[0]!r} is not in both {folder}/train and {folder}/test")
    splits = []
    for kind, files in found.items():
        with about(kind):
            images = [read_png(file) for name in classes for file in files[name]]
            places = [str(file) for name in classes for file in files[name]]
            sizes = [image.shape for image in images]
            for place, size in zip(places, sizes, strict=True):
                if size != sizes[0]:
                    raise DataError(f"{place} has {size} pixels, {places[0]} has {sizes[0]}")
            labels = [name for name in classes for _ in files[name]]
            splits.append(Given(np.stack(images), labels, places))
    return build(splits, Declared())


def _files(folder: Path) -> dict[str, list[Path]]:
    """PNGs by class."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: give FOLDER/{folder.name}/CLASS/*.png")
    classes = sorted(one for one in folder.iterdir() if one.is_dir())
    files = {one.name: sorted(one.glob("*.png"), key=lambda file: file.name) for one in classes}
    if not files:
        raise DataError(f"there are no classes in {folder}: give {folder}/CLASS/*.png")
    for name, found in files.items():
        if not found:
            raise DataError(f"there are no PNG files in {folder / name}")
    return files


def read_png(file: Path) -> NDArray[np.float32]:
    """A grey image (rows, columns) in [0, 1], of 8 or 16 bits.

    Raises:
        DataError: It is no image, or a coloured or a transparent one; or pillow is missing.
    """
    pillow = optional("PIL.Image", "reading PNG images")
    try:
        with pillow.open(file, formats=["PNG"]) as image:
            wide = image.mode.startswith("I")
            pixels = np.asarray(image if wide else image.convert("RGBA"))
    except Exception as error:  # whatever a damaged file makes of the library
        raise DataError(f"{file} is no PNG image: {type(error).__name__}: {error}") from error
    if wide:
        return np.asarray(pixels.astype(np.float32) / 65535, np.float32)
    red, green, blue, opaque = np.moveaxis(pixels, 2, 0)
    if not (np.array_equal(red, green) and np.array_equal(red, blue)) or opaque.min() < 255:
        raise DataError(
            f"{file} is coloured or transparent: make it grey with PIL's "
            "image.convert('L'), or give colours flattened, as a table (Dataset.from_arrays)"
        )
    return np.asarray(red.astype(np.float32) / 255, np.float32)


@dataclass(frozen=True)
class Division:
    """How a table is read; see `base.Dataset.from_frame`."""

    label: str
    split: str | None
    test_share: float
    seed: int


def read_frame(frame: pd.DataFrame, declared: Declared, division: Division) -> Built:
    """The rows of a table, divided by a column or by chance."""
    label, split = division.label, division.split
    for column in [label, *([] if split is None else [split])]:
        if column not in frame.columns:
            raise DataError(f"there is no column {column!r}: there are {list(frame.columns)}")
    if not len(frame):
        raise DataError("the table has no rows")
    places = [f"row {index}" for index in frame.index]
    labels = _column(frame, label, places)
    features = [column for column in frame.columns if column not in (label, split)]
    x = np.empty((len(frame), len(features)))
    for at, column in enumerate(features):
        values = _column(frame, column, places)
        if values.dtype.kind not in "biuf":
            raise DataError(
                f"column {column!r} holds {values[0]!r}, which is no number: encode it as "
                "numbers, or leave it out"
            )
        x[:, at] = values
    if split is None:
        test = _by_chance(labels, division.test_share, division.seed)
    else:
        test = _by_column(_column(frame, split, places), split, places)
    parts = [
        Given(x[rows], labels[rows], [places[row] for row in rows])
        for rows in (np.flatnonzero(~test), np.flatnonzero(test))
    ]
    names = None if declared.image_shape else [str(column) for column in features]
    return build(parts, replace(declared, feature_names=names))


def _column(frame: pd.DataFrame, name: str, places: Sequence[str]) -> NDArray[Any]:
    """Values of one column; none may be missing."""
    column = frame[name]
    if column.ndim != 1:
        raise DataError(f"two columns are called {name!r}")
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise DataError(
            f"{places[missing[0]]} ({len(missing)} in all) has no value in column {name!r}: drop "
            "the row, or fill it in"
        )
    return np.asarray(column)


def _by_chance(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are for testing: the share of every class, at least one, drawn by the seed."""
    if not 0 < share < 1:
        raise DataError(f"test_share must lie between 0 and 1, got {share:g}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).numpy()
    test = np.zeros(len(labels), bool)
    for value in dict.fromkeys(labels.tolist()):
        rows = order[labels[order] == value]
        test[rows[: max(round(share * len(rows)), 1)]] = True
    return test


def _by_column(values: NDArray[Any], name: str, places: Sequence[str]) -> NDArray[np.bool_]:
    for place, value in zip(places, values, strict=True):
        if value not in ("train", "test"):
            raise DataError(f"{place} has {value!r} in column {name!r}: write train or test")
    return np.asarray(values == "test")


def read_csv(file: Path) -> pd.DataFrame:
    """A file of comma-separated values with a line of names."""
    import pandas as pd

    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise DataError(f"cannot read {file}: {reason}") from error


def read_torch(train: Any, test: Any, declared: Declared) -> Built:
    """The pairs (x, label) of two `torch.utils.data.Dataset`s, each read once, in order."""
    splits = []
    for kind, dataset in (("train", train), ("test", test)):
        with about(kind):
            splits.append(_items(dataset))
    return build(splits, declared)


def _items(dataset: Any) -> Given:
    """Stacked pairs of a data set with a length, or of one that is iterated."""
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    items = (dataset[at] for at in range(len(dataset))) if sized else iter(dataset)
    x, y = [], []
    for at, item in enumerate(items):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {at} is a {type(item).__name__}, no pair (x, label)")
        value, label = item
        x.append(value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value))
        y.append(label.item() if isinstance(label, Tensor) and label.numel() == 1 else label)
        if x[at].shape != x[0].shape:
            raise DataError(f"item {at} has shape {x[at].shape}, item 0 has {x[0].shape}")
    return Given(np.stack(x) if x else np.empty((0, 1)), y, [f"item {at}" for at in range(len(x))])
