"""The leaderboard for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qbench.reporting.board import Board, Finding, Row
from qbench.reporting.claims import Bound, Certified
from qbench.reporting.elsewhere import EngineRow
from qbench.reporting.scores import Score


def to_json(board: Board) -> str:
    """The rows, tests, transfer matrices and facts of a board; one trailing newline."""
    subject = board.subject
    data = {
        "schema_version": 1,
        "protocol": subject.protocol.model_dump(mode="json"),
        "dataset": subject.dataset.model_dump(mode="json"),
        "seeds": list(subject.seeds),
        "versions": dict(subject.versions),
        "ranking_eps": board.rank_eps,
        "rows": [{**_row(row), "intervals": _intervals(board, row)} for row in board.rows],
        "elsewhere": [_elsewhere(row) for row in board.elsewhere],
        "comparisons": [vars(comparison) for comparison in board.comparisons],
        "transfer": [
            {
                "attack": transfer.setting.attack,
                "eps": transfer.setting.eps,
                "source": source,
                "target": target,
                **_score(score),
            }
            for transfer in board.transfers
            for (source, target), score in transfer.entries.items()
        ],
        "transfer_averages": [
            {
                "attack": transfer.setting.attack,
                "eps": transfer.setting.eps,
                "source_family": source,
                "target_family": target,
                **_score(score),
            }
            for transfer in board.transfers
            for (source, target), score in transfer.averages.items()
        ],
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "model": row.model.name,
        "family": row.model.family,
        "parameters": row.model.parameters,
        "plugin": row.model.plugin,
        "version": row.model.version,
        "seeds": list(row.seeds),
        "clean_accuracy": _score(row.clean),
        "robust_accuracy": [
            {"attack": setting.attack, "eps": setting.eps, **_score(score)}
            for setting, score in row.robust.items()
        ],
        "worst_case_robust_accuracy": _score(row.worst),
        "worst_case": _by_eps(row.worst_at),
        "worst_case_with_transfer": _score(row.with_transfer),
        "images_kept_by_most_seeds": row.kept,
        "flags": [_finding(found) for found in row.findings],
        "lipschitz": [_bound(entry) for entry in row.bounds],
        "certified": [_certified(one) for one in row.certified],
        "probabilistic_certificates": [
            {
                "certifier": one.certifier,
                "norm": one.norm,
                "smoothed": one.smoothed,
                "confidence": one.confidence,
                "detail": one.detail,
                "accuracy": _by_eps(one.accuracy),
            }
            for one in row.probabilistic
        ],
        "notes": [vars(note) for note in row.notes],
    }


def _certified(proved: Certified) -> dict[str, Any]:
    return {
        "norm": proved.norm,
        "certified_accuracy": _by_eps(proved.accuracy),
        "median_radius": _score(proved.median),
        "certifiers": [
            {
                "certifier": one.certifier,
                "certified_accuracy": _by_eps(one.accuracy),
                "median_radius": _score(one.median),
                "share_best": _score(one.best),
            }
            for one in proved.by_certifier
        ],
    }


def _intervals(board: Board, row: Row) -> list[dict[str, Any]]:
    """Certified accuracy and worst case at every attacked budget, in the norm of the attacks."""
    proved = row.proved(board.norm)
    ends = (
        []
        if proved is None
        else [
            (eps, proved.accuracy.get(eps, Score()), worst) for eps, worst in row.worst_at.items()
        ]
    )
    return [
        {
            "eps": eps,
            "certified": lower.mean,
            "worst_case": upper.mean,
            "by_seed": {
                str(seed): [low, dict(upper.by_seed)[seed]]
                for seed, low in lower.by_seed
                if seed in dict(upper.by_seed)
            },
        }
        for eps, lower, upper in ends
    ]


def _by_eps(scores: Mapping[float, Score]) -> list[dict[str, Any]]:
    return [{"eps": eps, **_score(score)} for eps, score in scores.items()]


def _elsewhere(row: EngineRow) -> dict[str, Any]:
    return {
        "model": row.model,
        "family": row.family,
        "kind": row.kind,
        "engine": row.engine,
        "shots": row.shots,
        "attacks_saw": row.crafted_on,
        "images": row.images,
        "clean_accuracy": _score(row.clean),
        "robust_accuracy": [
            {"attack": setting.attack, "eps": setting.eps, **_score(score)}
            for setting, score in row.robust.items()
        ],
        "worst_case": [{"eps": eps, **_score(score)} for eps, score in row.worst.items()],
        "signal_scale": _score(row.signal),
        "calibrated": list(row.calibrated),
        "dates": list(row.dates),
        "job_ids": list(row.job_ids),
        "mitigation": list(row.mitigation),
        "notes": [vars(note) for note in row.notes],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "flag": found.flag,
        "seeds": list(found.seeds),
        "numbers": dict(found.numbers),
        "details": list(found.details),
    }


def _bound(entry: Bound) -> dict[str, Any]:
    return {
        "certifier": entry.certifier,
        "scope": entry.scope,
        "points": entry.points,
        "bound": _score(entry.bound),
        "bound_on_margins": _score(entry.on_margins),
        "least_norm": entry.least_norm,
        "sampled_jacobian": _score(entry.sampled),
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "mean": score.mean,
        "std": score.std,
        "by_seed": {str(seed): value for seed, value in score.by_seed},
        "notes": [vars(note) for note in score.notes],
    }
