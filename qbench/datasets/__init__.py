"""Data sets that ship with qbench, as a plugin like any other."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import DatasetSpec


@hookimpl
def qbench_datasets() -> Iterable[DatasetSpec]:
    """The frozen glyphs, and loaders of other people's images of the same size."""
    yield DatasetSpec(
        name="glyphs",
        description="four glyphs - + ⊢ ⊣, 16x16, 1000 train and 200 test images, frozen",
        factory="qbench.datasets.glyphs:load",
    )
    yield DatasetSpec(
        name="plus-minus",
        description="the reference paper's images, from QBENCH_PLUS_MINUS (HDF5 file or folder)",
        factory="qbench.datasets.plus_minus:load",
    )
    yield DatasetSpec(
        name="mnist4",
        description="MNIST digits 0-3, 16x16, downloaded or from QBENCH_MNIST",
        factory="qbench.datasets.mnist4:load",
        downloads=True,
    )
    yield DatasetSpec(
        name="digits4",
        description="scikit-learn's bundled digits 0-3, upsampled to 16x16",
        factory="qbench.datasets.digits4:load",
    )
