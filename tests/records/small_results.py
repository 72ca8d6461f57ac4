"""A small run, computed once, and records made by hand."""

from __future__ import annotations

import numpy as np

from qbench.records import identity as ids
from qbench.records.columns import conform, fingerprint
from qbench.records.record import AccuracyMetrics, Card, Cost, Recipe, Record
from qbench.records.results import Result
from qbench.records.store import environment_name

SHA = "a" * 64
ENVIRONMENT = {"python": "3.11"}


def attack_id(model="m", seed=0, **changes) -> ids.AttackId:
    fields = {
        "protocol": ids.Protocol(name="p", sha256=SHA),
        "data": ids.Data(name="d", sha256=SHA, split="test", images=2),
        "model": ids.Model(name=model, seed=seed),
        "attack": ids.Method(name="pgd", params={"steps": 40}),
        "norm": "linf",
        "eps": 0.1,
    }
    return ids.AttackId(**fields | changes)


def outcomes(broken=(False, True)) -> dict[str, np.ndarray]:
    label = np.array([0, 1], np.int16)
    columns = {
        "label": label,
        "clean_prediction": label,
        "adversarial_prediction": np.where(broken, 1 - label, label).astype(np.int16),
        "clean_margin": np.array([0.5, 0.5], np.float16),
        "adversarial_margin": np.where(broken, -0.5, 0.5).astype(np.float16),
        "linf": np.array([0.1, 0.1], np.float32),
        "l2": np.array([0.1, 0.1], np.float32),
    }
    return conform(columns, "attack", 2)


def result(**changes) -> Result:
    columns = outcomes()
    fields = {
        "task": attack_id(),
        "status": "done",
        "label": "pgd",
        "weights": SHA,
        "metrics": AccuracyMetrics(
            clean_accuracy=1.0, adversarial_accuracy=0.5, robust_accuracy=0.5
        ),
        "cost": Cost(wall_s=1.0),
        "environment": environment_name(ENVIRONMENT),
        "outcomes": fingerprint(columns),
    }
    record = Record(**fields | changes)
    card = Card(
        name=record.task.model.name,
        family="quantum",
        structure="s",
        description="a model",
        plugin="q",
        version="1",
        recipe=Recipe(epochs=1, learning_rate=0.1, batch_size=1),
    )
    return Result(record, columns if record.outcomes else None, b"artifact", card, ENVIRONMENT)
