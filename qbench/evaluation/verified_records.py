"""Verifies what cards and records say: against plugins, the protocol and images' outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qbench.attack_strings import attack_label
from qbench.evaluation.challenge import problems
from qbench.evaluation.impossible import impossible
from qbench.evaluation.isolation import isolated
from qbench.evaluation.provenance import card_of, parameters_of
from qbench.evaluation.submission import is_file_version
from qbench.evaluation.verdict import Verdict
from qbench.evaluation.verified_board import BALL, Board
from qbench.records.columns import Columns
from qbench.records.record import AccuracyMetrics, LipschitzMetrics, RadiiMetrics, Record
from qbench.text import one_line


def of_card(board: Board, name: str, card: Any, verdict: Verdict) -> Iterator[str]:
    """What a model's card says, against what its plugin says."""
    if board.foreign(name):
        verdict.notes.append(
            f"{name}: plugin {card.plugin!r} is not loaded, so nothing was asked of the model"
        )
        return
    provided = board.provided(name)
    if file := board.handed_in(name):
        provided = replace(provided, spec=replace(provided.spec, weights=file, train=None))
    with isolated(0):
        parameters = parameters_of(provided.create())
    expected = card_of(provided, None if card.parameters is None else parameters)
    for key in type(card).model_fields:
        if key == "engine" and card.engine is None:
            continue  # a card of long ago does not say
        ours, theirs = getattr(expected, key), getattr(card, key)
        # Of a package any version will do, of a file the one that was run.
        if ours != theirs and (key != "version" or is_file_version(theirs)):
            yield f"{key} is {theirs!r}, its plugin says {ours!r}"


def of_record(board: Board, record: Record, verdict: Verdict) -> Iterator[str]:
    """What a record says, against its card, the protocol and its own outcomes."""
    task = record.task
    if task.model.name not in board.results.cards:
        yield "its model has no card"
    elif task.model.revision != board.results.cards[task.model.name].revision:
        yield f"revision {task.model.revision} of the model, its card has another"
    if record.environment not in board.results.environments:
        yield "its versions are not on record"
    if task.kind in ("attack", "transfer"):
        yield from _method(board, record)
    if task.kind == "challenge":
        yield from problems(record, board.results.columns(record), board.protocol)
    if isinstance(record.metrics, LipschitzMetrics | RadiiMetrics):
        yield from _certifier(board, record)
    columns = {} if record.outcomes is None else board.results.columns(record)
    known = board.registry.all("model").get(task.model.name)
    yield from impossible(
        record,
        columns,
        board.protocol,
        board.dataset,
        board.registry,
        None if known is None else known.spec,
    )
    if columns:
        verdict.counts["images' outcomes"] += task.data.images
        yield from _outcomes(board, record, columns)


def _method(board: Board, record: Record) -> Iterator[str]:
    task = record.task
    assert task.kind in ("attack", "transfer")
    provided = board.registry.get("attack", task.attack.name)
    if task.attack.revision != provided.spec.revision:
        yield f"revision {task.attack.revision} of {task.attack.name}, installed is another"
    usual = provided.resolved(board.protocol.attack_params(task.attack.name, task.eps))
    if task.attack.params.keys() != usual.keys():
        yield f"parameters {sorted(task.attack.params)}, {task.attack.name} has {sorted(usual)}"
    label = attack_label(task.attack.name, task.attack.params, usual)
    if record.label != label:
        yield f"it is called {record.label}, its parameters make it {label}"
    if task.norm != board.protocol.norm:
        yield f"norm {task.norm}, the board's is {board.protocol.norm}"
    if task.kind == "transfer" and task.made_by.id not in board.by_id:
        yield "the attack that made its images is not on record"


def _certifier(board: Board, record: Record) -> Iterator[str]:
    task, metrics = record.task, record.metrics
    assert task.kind in ("lipschitz", "radii")
    assert task.certifier is not None
    provided = board.registry.get("certifier", task.certifier.name)
    if board.foreign(task.model.name):
        structure = board.results.cards[task.model.name].structure
    else:
        structure = board.registry.get("model", task.model.name).spec.structure
    if not provided.spec.covers(structure):
        yield f"{task.certifier.name} does not cover {structure}"
    if isinstance(metrics, LipschitzMetrics | RadiiMetrics) and (
        metrics.source != one_line(provided.spec.source)
    ):
        yield "its source is not the certifier's"
    if isinstance(metrics, LipschitzMetrics):
        if metrics.baseline != provided.spec.baseline:
            yield "whether its bound is a baseline is not as the certifier says"
        if metrics.sampled_jacobian > metrics.bound * (1 + BALL):
            yield f"a Jacobian of {metrics.sampled_jacobian} exceeds the bound {metrics.bound}"
    elif isinstance(metrics, RadiiMetrics) and metrics.smoothed != provided.spec.smoothed:
        yield "whether it is about the smoothed model is not as the certifier says"


def _outcomes(board: Board, record: Record, columns: Columns) -> Iterator[str]:
    task, metrics, label = record.task, record.metrics, columns["label"]
    wrong = np.flatnonzero(label != board.split.y.numpy())
    if len(wrong):
        yield f"image {wrong[0]} has label {label[wrong[0]]}, the data say otherwise"
    if isinstance(metrics, RadiiMetrics):
        radius = columns["radius"]
        if bool((radius < 0).any()):
            yield "a radius below 0"
        if not metrics.smoothed and bool(((radius > 0) & (columns["prediction"] != label)).any()):
            yield "a misclassified image has a radius"
        assert task.kind == "radii"
        certified = [float((radius >= eps).mean()) for eps in task.eps]
        yield from _differ("certified accuracy", metrics.certified_accuracy, certified)
        clean = float((columns["prediction"] == label).mean())
        yield from _differ("clean accuracy", [metrics.clean_accuracy], [clean])
        return
    assert isinstance(metrics, AccuracyMetrics)
    clean = columns["clean_prediction"] == label
    adversarial = columns["adversarial_prediction"] == label
    yield from _differ("clean accuracy", [metrics.clean_accuracy], [clean.mean()])
    yield from _differ("adversarial accuracy", [metrics.adversarial_accuracy], [adversarial.mean()])
    robust = (clean & adversarial).mean()
    yield from _differ("robust accuracy", [metrics.robust_accuracy], [robust])
    for name, right in (("clean", clean), ("adversarial", adversarial)):
        margin = columns[f"{name}_margin"]
        if bool((((margin > 0) & ~right) | ((margin < 0) & right)).any()):
            yield f"{name} margins and predictions contradict each other"
    if task.kind in ("attack", "challenge"):
        norms = {norm: columns[norm].astype(np.float64) for norm in ("linf", "l2")}
        far = np.flatnonzero(~(norms[task.norm] <= task.eps * (1 + BALL)))
        if len(far):
            yield f"image {far[0]} is {norms[task.norm][far[0]]:.9g} away, ε is {task.eps:g}"
        features = board.split.x.shape[1]
        low, high = norms["linf"] * (1 - 1e-5), norms["linf"] * features**0.5 * (1 + 1e-5)
        if bool(((norms["l2"] < low) | (norms["l2"] > high)).any()):
            yield "its distances in ℓ∞ and ℓ2 cannot both be right"


def _differ(what: str, recorded: Any, found: Mapping[str, Any] | Any) -> Iterator[str]:
    for claimed, value in zip(recorded, found, strict=True):
        if abs(float(claimed) - float(value)) > 1e-12:
            yield f"{what} {claimed}, its images give {float(value)}"
