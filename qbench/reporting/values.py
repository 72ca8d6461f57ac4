"""The metrics of a done record, by their kind."""

from __future__ import annotations

from typing import TypeVar

from qbench.errors import StoreError
from qbench.records import AccuracyMetrics, LipschitzMetrics, Record, TrainingMetrics

M = TypeVar("M")


def accuracy(record: Record) -> AccuracyMetrics:
    """Of a robust- or transfer-accuracy record."""
    return metrics(record, AccuracyMetrics)


def robust(record: Record) -> float:
    """Its robust accuracy: images correct both clean and attacked."""
    return accuracy(record).robust_accuracy


def adversarial(record: Record) -> float:
    """Its adversarial accuracy: the entry of a transfer matrix."""
    return accuracy(record).adversarial_accuracy


def lipschitz(record: Record) -> LipschitzMetrics:
    """Of a certificate's record."""
    return metrics(record, LipschitzMetrics)


def training(record: Record) -> TrainingMetrics:
    """Of a training's record."""
    return metrics(record, TrainingMetrics)


def metrics(record: Record, kind: type[M]) -> M:
    """The metrics of a done record.

    Raises:
        StoreError: It has none, or others.
    """
    if not isinstance(record.metrics, kind):
        raise StoreError(f"record {record.key} is done but has no {kind.__name__}; delete it")
    return record.metrics
