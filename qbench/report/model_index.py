"""Results as the metadata of model cards: a `model-index` in YAML, as model hubs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from qbench.report.board import Board, Row


def model_index(board: Board) -> str:
    """The means over seeds of every model: clean accuracy, and both ends at every budget.

    Scalars are written as JSON writes them, which YAML reads.
    """
    index = [
        {
            "name": row.model.name,
            "results": [
                {
                    "task": {"type": "classification", "name": "Adversarial robustness"},
                    "dataset": {
                        "type": board.about.data.name,
                        "name": f"{board.about.data.name}, {board.about.protocol.name}",
                        "split": "test",
                        "revision": board.about.data.sha256,
                    },
                    "metrics": list(_metrics(board, row)),
                }
            ],
        }
        for row in board.rows
    ]
    return "\n".join(_lines({"model-index": index})) + "\n"


def _metrics(board: Board, row: Row) -> Iterator[dict[str, Any]]:
    proved = row.proved(board.norm)
    found = [("accuracy", "Clean accuracy", row.clean.mean)]
    for eps, worst in row.worst_at.items():
        at = f"{board.norm}, ε = {eps:g}"
        found.append(("robust_accuracy", f"Robust accuracy, worst case, {at}", worst.mean))
        if proved is not None and eps in proved.accuracy:
            certified = proved.accuracy[eps].mean
            found.append(("certified_accuracy", f"Certified accuracy, {at}", certified))
    for kind, name, value in found:
        if value is not None:
            yield {"type": kind, "name": name, "value": round(value, 6)}


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for key, one in value.items():
        if isinstance(one, dict):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(one))
        elif isinstance(one, list):
            yield f"{key}:"
            for entry in one:
                first, *rest = _lines(entry)
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
        else:
            yield f"{key}: {json.dumps(one, ensure_ascii=False)}"
