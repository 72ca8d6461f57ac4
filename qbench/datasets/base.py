"""What a data set is, how one is made of one's own data, and how one is loaded by name."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.attack_strings import DATA_LABEL, attack_label, parse_name
from qbench.datasets import reading
from qbench.datasets.building import Built, Declared, FeatureRange, Form, Given, about, build, given
from qbench.datasets.splits import Split, check_images
from qbench.errors import DataError
from qbench.plugin_files import PluginFile
from qbench.provided import Provided, Scalar
from qbench.registry import load_registry
from qbench.specs import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dataset", "Split", "check_images", "find_data", "load_data"]


@dataclass(frozen=True)
class Dataset:
    """A frozen set of images, or of the rows of a table.

    Args:
        name, version: As in records.
        sha256: Of its content. `load_data` computes it, whatever stands here.
        image_shape: Rows and columns of the images; None for a table of features.
        classes: Names of the classes by label.
        train, test: The two splits.
        fresh: Makes n new test images, always the same ones and none of the test images, where
            the data set can. With a keyword argument `seed`, if it takes one, others for each seed.
        feature_names: Of a table's features, for pictures and messages.
    """

    name: str
    version: int
    sha256: str
    image_shape: tuple[int, int] | None
    classes: tuple[str, ...]
    train: Split
    test: Split
    fresh: Callable[..., Split] | None = None
    feature_names: tuple[str, ...] | None = None

    @property
    def features(self) -> int:
        """How many features an image or a row has."""
        return int(self.train.x.shape[1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(rows, columns) of images, (features,) of the rows of a table."""
        return self.image_shape or (self.features,)

    @classmethod
    def from_arrays(
        cls,
        x_train: Any,
        y_train: Any,
        x_test: Any,
        y_test: Any,
        *,
        name: str,
        classes: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
        feature_range: FeatureRange = None,
        feature_names: Sequence[str] | None = None,
    ) -> Dataset:
        """A data set from numpy arrays, torch tensors, lists or data frames of any precision.

        Args:
            x_train, x_test: Rows of a table (n, features); or grey images (n, rows, columns), also
                with one channel, or flattened with an `image_shape`.
            y_train, y_test: Labels (n,), integers or text.
            name: What it is called.
            classes: Their names. Integer labels are then their places 0, 1, ...; without, the
                classes are the labels of the training data in ascending order.
            image_shape: Rows and columns of flattened images.
            feature_range: What is mapped to [0, 1], the box that perturbed inputs stay in: a pair
                (low, high), or one pair a feature. A value outside is refused. With `"train"`,
                smallest and largest training value of each feature (of images: of all pixels);
                test values outside are moved to the nearer end. None for values in [0, 1].
            feature_names: Of a table's features.

        Raises:
            DataError: Naming split, image or row, and fault.
        """
        declared = Declared(
            classes=classes,
            image_shape=image_shape,
            feature_range=feature_range,
            feature_names=feature_names,
        )
        with about(f"data set {name!r}"):
            return cls._of(name, build([Given(x_train, y_train), Given(x_test, y_test)], declared))

    @classmethod
    def from_folder(cls, folder: Path | str, *, name: str) -> Dataset:
        """A data set from the grey PNGs in `folder/train/CLASS/*.png` and `folder/test/CLASS`.

        Classes and, within them, files are in the order of their names. Images have 8 or 16 bits
        and one size. Needs pillow.

        Raises:
            DataError: Naming the file and fault.
        """
        with about(f"data set {name!r}"):
            return cls._of(name, reading.read_folder(Path(folder)))

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        name: str,
        label: str,
        split: str | None = None,
        test_share: float = 0.25,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
        feature_range: FeatureRange = None,
    ) -> Dataset:
        """A data set from a table: every column but the label and the split is a feature.

        Args:
            frame: The table.
            name: What the data set is called.
            label: Column of the labels, integers or text.
            split: Column that says `train` or `test`; None to draw the test rows.
            test_share: Share of every class that is drawn for testing.
            seed: Of the drawing.
            classes, image_shape, feature_range: As in `from_arrays`.

        Raises:
            DataError: Naming row, by the table's index, or column, and fault.
        """
        declared = Declared(classes=classes, image_shape=image_shape, feature_range=feature_range)
        division = reading.Division(label, split, test_share, seed)
        with about(f"data set {name!r}"):
            return cls._of(name, reading.read_frame(frame, declared, division))

    @classmethod
    def from_csv(cls, file: Path | str, *, name: str, label: str, **options: Any) -> Dataset:
        """A data set from a CSV file whose first line names the columns; see `from_frame`.

        Raises:
            DataError: Naming row (the first after the names is 0) or column, and fault.
        """
        with about(f"data set {name!r}"):
            frame = reading.read_csv(Path(file))
        return cls.from_frame(frame, name=name, label=label, **options)

    @classmethod
    def from_torch(
        cls,
        train: Any,
        test: Any,
        *,
        name: str,
        classes: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
        feature_range: FeatureRange = None,
    ) -> Dataset:
        """A data set from two torch data sets (`torch.utils.data.Dataset`) of pairs (x, label).

        Each pair is read once, in order: what a random transformation makes of it is kept.

        Args:
            train, test: The two splits. x is a row (features,) or a grey image (rows, columns),
                also with one channel, as a tensor, an array or a picture of pillow.
            name, classes, image_shape, feature_range: As in `from_arrays`.

        Raises:
            DataError: Naming split, item and fault.
        """
        declared = Declared(classes=classes, image_shape=image_shape, feature_range=feature_range)
        with about(f"data set {name!r}"):
            return cls._of(name, reading.read_torch(train, test, declared))

    @classmethod
    def _of(cls, name: str, built: Built) -> Dataset:
        form = built.form
        return cls(
            name=name,
            version=1,
            sha256=_sha256(form.image_shape, built.train, built.test),
            image_shape=form.image_shape,
            classes=form.classes,
            train=built.train,
            test=built.test,
            feature_names=form.names,
        )


def find_data(
    name: str, plugins: tuple[PluginFile, ...] = ()
) -> tuple[Provided[DatasetSpec], dict[str, Scalar]]:
    """Who provides a data set, and the parameters in its name: `NAME` or `NAME:PARAMETER=VALUE`.

    Raises:
        UsageError: There is no such data set, or the name is not of this form.
    """
    plain, params = parse_name("data set", name)
    return load_registry(plugins).get("dataset", plain), params


@lru_cache(maxsize=4)
def load_data(name: str, plugins: tuple[PluginFile, ...] = ()) -> Dataset:
    """A data set by name, checked, with the SHA-256 of its images and labels.

    It is called by its name and those of its parameters that differ from the usual ones.

    Raises:
        UnknownNameError: There is no such data set.
        UsageError, DataError, PluginError: It does not load, or is no such data set.
    """
    provided, params = find_data(name, plugins)
    plain = provided.spec.name
    label = attack_label(plain, provided.resolved(params), provided.resolved({}))
    with about(f"data set {plain!r}"):
        _check_parameters(provided, params)
        if not re.fullmatch(DATA_LABEL, label):
            raise DataError(f"parameters may hold letters, digits and . _ + - only, got {label!r}")
    made = provided.create(**params)
    with about(f"data set {label!r}"):
        return _checked(plain, label, made)


def _check_parameters(provided: Provided[DatasetSpec], given: Iterable[str]) -> None:
    try:
        known = inspect.signature(provided.spec.resolve()).parameters
    except Exception:
        return  # making it says why there is no such factory
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DataError(f"it has no parameter {name!r}: {takes}")


def _checked(name: str, label: str, made: object) -> Dataset:
    """What a factory made, in the form that every user of it relies on."""
    if not isinstance(made, Dataset):
        raise DataError(f"its factory made a {type(made).__name__}, not a Dataset")
    if made.name not in (name, label):
        raise DataError(f"it calls itself {made.name!r}")
    splits = []
    for kind, split in (("train", made.train), ("test", made.test)):
        with about(kind):
            splits.append(given(split))
    declared = Declared(
        classes=made.classes,
        image_shape=made.image_shape,
        feature_names=made.feature_names,
    )
    built = build(splits, declared)
    fresh = None if made.fresh is None else partial(_fresh, label, built.form, made.fresh)
    return replace(Dataset._of(label, built), version=made.version, fresh=fresh)


def _fresh(
    name: str, form: Form, make: Callable[..., Split], n: int, seed: int | None = None
) -> Split:
    """What a data set makes as n new images, checked as its other images are."""
    seeded = seed is not None and "seed" in inspect.signature(make).parameters
    with about(f"data set {name!r}: new images"):
        split = form.split(given(make(n, seed=seed) if seeded else make(n)))
        if len(split.y) != n:
            raise DataError(f"{len(split.y)} images instead of {n}")
    return split


def _sha256(shape: tuple[int, int] | None, *splits: Split) -> str:
    digest = hashlib.sha256(f"{shape}".encode())
    for split in splits:
        for values in (split.x, split.y):
            digest.update(f"{tuple(values.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()
