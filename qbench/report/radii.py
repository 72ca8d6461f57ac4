"""Radii of images, as records of certificates hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.records.record import Record
from qbench.report.outcomes import ReadColumns
from qbench.report.questions import radii as measured


@dataclass(frozen=True)
class Radii:
    """Certified radii (n,) of the protocol's images; −1 where the image is misclassified."""

    radius: NDArray[np.float64]

    @property
    def of_correct(self) -> NDArray[np.float64]:
        """(k,): the radii of the images that are classified correctly."""
        return self.radius[self.radius >= 0]

    def accuracy(self, eps: float) -> float:
        """Share of the images that are classified correctly and certified at a budget."""
        return float(np.mean(self.radius >= eps))


def proves(record: Record) -> bool:
    """Whether certificates are done, are proofs, and are about the model itself."""
    if record.status != "done":
        return False
    metrics = measured(record)
    return not metrics.smoothed and metrics.confidence == 1


def by_seed(records: Iterable[Record], columns: ReadColumns) -> dict[int, Radii]:
    """Those of one model's done records; the best of each image where a seed has several.

    Raises:
        StoreError: Per-image radii contradict their records.
    """
    found: defaultdict[int, list[Radii]] = defaultdict(list)
    for record in records:
        if record.status == "done":
            found[record.task.model.seed].append(_read(record, columns))
    return {seed: best(of) for seed, of in sorted(found.items())}


def best(found: Iterable[Radii]) -> Radii:
    """The largest radius of each image."""
    return Radii(np.maximum.reduce([of.radius for of in found]))


def _read(record: Record, columns: ReadColumns) -> Radii:
    assert record.task.kind == "radii"
    metrics, found = measured(record), columns(record)
    # A smoothed model may be right where the model itself is wrong.
    correct = (found["prediction"] == found["label"]) | metrics.smoothed
    radii = Radii(np.where(correct, found["radius"].astype(np.float64), -1.0))
    given = [radii.accuracy(eps) for eps in record.task.eps]
    if not np.allclose(given, metrics.certified_accuracy, rtol=0, atol=1e-6):
        raise StoreError(
            f"the {record.title} has certified accuracies {metrics.certified_accuracy}, which its "
            f"{len(radii.radius)} per-image radii do not give; 'qbench verify' says more"
        )
    return radii
