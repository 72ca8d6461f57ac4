"""The metrics of a done record, by their kind."""

from __future__ import annotations

from typing import TypeVar

from qbench.errors import StoreError
from qbench.records import (
    AccuracyMetrics,
    CertificationMetrics,
    LipschitzMetrics,
    Record,
    TrainingMetrics,
)

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


def clean(record: Record) -> float:
    """Clean accuracy, as an attack or a certification reports it."""
    found = certification(record) if record.task == "certification" else accuracy(record)
    return found.clean_accuracy


def lipschitz(record: Record) -> LipschitzMetrics:
    """Of a Lipschitz bound's record."""
    return metrics(record, LipschitzMetrics)


def certification(record: Record) -> CertificationMetrics:
    """Of the record of single images' certificates."""
    return metrics(record, CertificationMetrics)


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
