"""Verifies what a model's checks and its accuracy on new images say, by doing them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from qbench.datasets.base import Dataset, Split
from qbench.evaluation import checks, fresh
from qbench.evaluation.isolation import isolated
from qbench.evaluation.outside import SavedModel
from qbench.protocols import Protocol
from qbench.provided import CHANGED, Provided
from qbench.records.columns import fingerprint
from qbench.records.record import ChecksMetrics, FreshMetrics, Record
from qbench.specs import ModelSpec
from qbench.weights.files import load_into, unpack

APART = 0.05  # shares of images between which two processors may differ
AGAIN = 0.002  # of the new images
_BY_PLUGIN = ("settings_changed", "code_changed")


def unchecked(records: Iterable[Record], dataset: Dataset, protocol: Protocol) -> Iterator[str]:
    """Trained models that were attacked, and lack their checks or new images."""
    due = ["checks"]
    if dataset.fresh is not None and protocol.selection.split == "test":
        due.append("fresh")
    kinds: dict[tuple[str, int], set[str]] = {}
    for record in records:
        if record.exact:
            model = record.task.model
            kinds.setdefault((model.name, model.seed), set()).add(record.task.kind)
    for (name, seed), found in sorted(kinds.items()):
        for kind in due if "attack" in found else []:
            if kind not in found:
                yield f"{name} seed {seed} was attacked, and there is no {kind} of it"


def recheck(
    record: Record,
    provided: Provided[ModelSpec],
    saved: SavedModel,
    split: Split,
    dataset: Dataset,
    protocol: Protocol,
) -> Iterator[str]:
    """What of a record of checks or of new images does not hold any more.

    Args:
        record: Of any kind; those of others are passed over.
        provided: The model's spec.
        saved: The model with its weights.
        split: The protocol's images.
        dataset: Where they come from.
        protocol: What is measured.
    """
    if isinstance(record.metrics, ChecksMetrics) and record.exact:
        if record.task.kind == "checks" and record.task.revision != checks.REVISION:
            yield f"revision {record.task.revision} of the checks, now it is {checks.REVISION}"
            return
        yield from _checks(record.metrics, provided, saved, split, protocol)
    if isinstance(record.metrics, FreshMetrics) and record.task.kind == "fresh":
        if record.task.revision != fresh.REVISION:
            yield f"revision {record.task.revision} of this check, now it is {fresh.REVISION}"
            return
        due = fresh.how_many(record.task.data.images)
        if dataset.fresh is None or record.task.images != due:
            yield f"{record.task.images} new images, {due} are due"
            return
        new = dataset.fresh(due)
        if record.task.images_sha256 != fingerprint({"x": new.x.numpy(), "y": new.y.numpy()}):
            yield "other new images than the data set's"
        clean = float(saved.right(new.x, new.y, seed=0, singly=False).double().mean())
        if abs(clean - record.metrics.clean_accuracy) > AGAIN:
            yield f"clean accuracy {record.metrics.clean_accuracy} on new images, they give {clean}"


def _checks(
    metrics: ChecksMetrics,
    provided: Provided[ModelSpec],
    saved: SavedModel,
    split: Split,
    protocol: Protocol,
) -> Iterator[str]:
    few = Split(split.x[: checks.IMAGES], split.y[: checks.IMAGES])
    if metrics.images != len(few.y):
        yield f"{metrics.images} images were checked, not {len(few.y)}"
    with isolated(0):
        model: torch.nn.Module = provided.create()
        load_into(model, unpack(saved.weights, provided.spec.name)[0].weights, provided.spec.name)
        found = checks.check(
            model, few, protocol.ranking_eps, gradients=provided.spec.differentiable
        )
    changed = CHANGED[provided.plugin]
    found["settings_changed"] = float(bool(changed.settings))
    found["code_changed"] = float(bool(changed.code))
    for name, value in found.items():
        claimed = metrics.values.get(name)
        if claimed is None:
            yield f"there is no check {name}"
        elif name in _BY_PLUGIN and claimed >= value:
            continue  # the model, or what was loaded before it, may have changed more
        elif abs(claimed - value) > APART:
            yield f"{name.replace('_', ' ')}: {claimed:g}, found {value:g}"
