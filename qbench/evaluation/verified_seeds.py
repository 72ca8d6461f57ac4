"""Verifies that no seed lacks anything, and that each has one set of weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from qbench.evaluation.submission import lacking as lacking_for_a_rank
from qbench.evaluation.submission import required_attacks
from qbench.evaluation.verdict import Verdict
from qbench.evaluation.verified_board import Board


def of_seeds(board: Board) -> Iterator[str]:
    """No seed of a model may lack what its other seeds have."""
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    made: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for record in board.by_id.values():
        task, name = record.task, record.task.model.name
        if task.kind == "challenge":
            continue  # whoever sends images need not send some for every seed
        if task.kind != "transfer":
            seeds[name].add(task.model.seed)
            eps = getattr(task, "eps", None)
            certifier = getattr(task, "certifier", None)
            made[name, task.kind, record.label, str(eps), str(certifier)].add(task.model.seed)
    for name, found in sorted(seeds.items()):
        lacking = sorted(set(board.protocol.seeds) - found)
        handed_in = board.sent is None and board.handed_in(name) is not None
        if board.whole and lacking and not handed_in:
            yield f"{name} lacks seeds {lacking} of the protocol"
    for (name, kind, label, *rest), found in sorted(made.items(), key=str):
        if lacking := sorted(seeds[name] - found):
            what = " ".join(part for part in (label, *rest) if part and part != "None")
            yield f"{name}: no {kind} {what} for seeds {lacking}"


def of_admission(board: Board, verdict: Verdict) -> None:
    """Of a submission: no model may lack what a rank asks for."""
    if board.sent is None:
        return
    required = required_attacks(board.protocol, ())
    for name in sorted(board.results.cards):
        records = [record for record in board.by_id.values() if record.exact]
        found = lacking_for_a_rank(records, name, board.protocol, required)
        verdict.add(f"{name}: {line}" for line in found)


def of_weights(board: Board) -> Iterator[str]:
    """One set of weights a model and seed."""
    found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for record in board.by_id.values():
        if record.weights is not None:
            found[record.task.model.name, record.task.model.seed].add(record.weights)
    for (name, seed), weights in sorted(found.items()):
        if len(weights) > 1:
            yield f"{name} seed {seed}: {len(weights)} sets of weights"
