"""Data sets as a reader meets them: the names of the classes, and a sheet of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.errors import QbenchError
from qbench.files import write_atomically
from qbench.records import Record

if TYPE_CHECKING:
    from qbench.datasets.base import Dataset


def class_names(records: Sequence[Record]) -> tuple[str, ...]:
    """Names of the classes by label, as the data set of the records gives them.

    Empty when it cannot be loaded: records outlive the plugins and files they were made from, and
    pictures then show numbers.
    """
    from qbench.tasks import load_data

    try:
        return tuple(load_data(records[0].dataset.name).classes)
    except QbenchError:
        return ()


def write_sample_sheet(dataset: Dataset, file: Path) -> None:
    """Draw samples of each class of the test images into a PNG.

    Raises:
        StoreError: The file cannot be written.
    """
    from qbench.reporting.figures.glyphs import sample_sheet
    from qbench.reporting.figures.style import png

    images = dataset.test.x.numpy().reshape(-1, *dataset.image_shape)
    write_atomically(file, png(sample_sheet(images, dataset.test.y.numpy(), dataset.classes)))
