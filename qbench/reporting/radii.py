"""Radii of images, as certification records hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.records import Record
from qbench.reporting.outcomes import Images
from qbench.reporting.values import certification


@dataclass(frozen=True)
class Radii:
    """Radii (n,) of images by ascending index (n,); −1 where the image is misclassified."""

    index: NDArray[Any]
    radius: NDArray[np.float64]

    @property
    def of_correct(self) -> NDArray[np.float64]:
        """(k,): the radii of the images that are classified correctly."""
        return self.radius[self.radius >= 0]

    def accuracy(self, eps: float) -> float:
        """Share of the images that are classified correctly and certified at a budget."""
        return float(np.mean(self.radius >= eps))


def proves(record: Record) -> bool:
    """Whether a done certification is a proof, and about the model itself."""
    metrics = certification(record)
    return not metrics.smoothed and metrics.confidence == 1


def by_seed(records: Iterable[Record], images: Images) -> dict[int, Radii]:
    """Those of one model's done records; the best of each image where a seed has several.

    Raises:
        StoreError: Side files contradict their records, or are not about the same images.
    """
    found: defaultdict[int, list[Radii]] = defaultdict(list)
    for record in records:
        if record.status == "done":
            found[record.target.seed].append(_read(record, images(record)))
    return {seed: best(of) for seed, of in sorted(found.items())}


def best(found: Sequence[Radii]) -> Radii:
    """The largest radius of each image.

    Raises:
        StoreError: They are not about the same images.
    """
    index = found[0].index
    if any(not np.array_equal(of.index, index) for of in found):
        raise StoreError(
            "certificates of one model are not about the same images: keep one run per folder"
        )
    return Radii(index, np.maximum.reduce([of.radius for of in found]))


def _read(record: Record, columns: Mapping[str, NDArray[Any]]) -> Radii:
    metrics = certification(record)
    try:
        order = np.argsort(columns["index"], kind="stable")
        # A smoothed model may be right where the model itself is wrong.
        correct = (columns["prediction"] == columns["label"]) | metrics.smoothed
        radius = np.where(correct, columns["radius"].astype(np.float64), -1.0)[order]
        radii = Radii(columns["index"][order], radius)
    except (KeyError, IndexError, ValueError) as error:
        raise StoreError(f"per-image radii of record {record.key}: {error!r}") from error
    eps = record.perturbations.eps if record.perturbations else []
    claimed = metrics.certified_accuracy
    given = [radii.accuracy(one) for one in eps] if len(radius) else []
    if len(given) != len(claimed) or not np.allclose(given, claimed, rtol=0, atol=1e-6):
        raise StoreError(
            f"record {record.key} says certified accuracies {claimed}, which its "
            f"{len(radius)} per-image radii do not give; delete it and run again"
        )
    return radii
