"""Results for other programs: the board as JSON, records as a table, the ranking for a paper."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from qbench.errors import UsageError
from qbench.extras import install_command
from qbench.records.record import AccuracyMetrics, LipschitzMetrics, RadiiMetrics, Record
from qbench.records.results import Results
from qbench.records.statistics import wilson_interval
from qbench.report import render
from qbench.report.board import Board, Row
from qbench.report.certificate_types import ImageRadii
from qbench.report.collect import collect
from qbench.report.model_index import model_index
from qbench.report.questions import certifier_of
from qbench.report.seed_values import SeedValues
from qbench.report.tables import accuracy
from qbench.report.transfer import Setting

if TYPE_CHECKING:
    import pandas as pd


def export(results: Results, format: str) -> bytes:
    """Results in another format.

    Args:
        results: Of one protocol.
        format: `csv` or `parquet` for `to_frame`; `json` for the board that leaderboard.json
            holds; `latex` for the ranking, with the rules of booktabs; `model-index` for model
            cards.

    Raises:
        StoreError: The results do not belong together.
        UsageError: There is no such format, or what writes it is not installed.
    """
    if format == "csv":
        return str(to_frame(results).to_csv(index=False, lineterminator="\n")).encode()
    if format == "json":
        return to_json(collect(results)).encode()
    if format == "latex":
        board = collect(results, transferred=False)
        return render.latex(accuracy.ranking(board)).encode()
    if format == "model-index":
        return model_index(collect(results, transferred=False)).encode()
    if format == "parquet":
        file = io.BytesIO()
        try:
            to_frame(results).to_parquet(file, engine="pyarrow", index=False)
        except ImportError as error:
            needs = f"parquet needs pyarrow: {install_command('parquet')}"
            raise UsageError(needs) from error
        return file.getvalue()
    raise UsageError(f"no format {format!r}: choose csv, json, latex, model-index or parquet")


def to_frame(results: Results) -> pd.DataFrame:
    """One row a record, and one for each budget of certificates of single images.

    What a kind of record does not measure is missing there. `robust_low` and `robust_high` are the
    ends of the 95 % Wilson interval of the robust accuracy.
    """
    import pandas as pd

    lines = [line for record in results.records for line in _lines(record, results)]
    return pd.DataFrame(lines).convert_dtypes()


def _lines(record: Record, results: Results) -> Iterator[dict[str, Any]]:
    task, card = record.task, results.cards.get(record.task.model.name)
    engine, eps = getattr(task, "engine", None), getattr(task, "eps", None)
    line: dict[str, Any] = {
        "kind": task.kind,
        "status": record.status,
        "reason": record.reason,
        "model": task.model.name,
        "revision": task.model.revision,
        "seed": task.model.seed,
        "family": card.family if card else None,
        "source": task.source.name if task.kind == "transfer" else None,
        "attack": record.label,
        "certifier": certifier_of(record),
        "norm": getattr(task, "norm", None),
        "eps": eps,
        "engine": engine.name if engine else None,
        "shots": engine.shots if engine else None,
        "exact": record.exact,
        "images": task.data.images,
        **measured(record),
        "wall_s": record.cost.wall_s,
        "forward": record.cost.forward,
        "gradient": record.cost.gradient,
        "weights": record.weights,
        "environment": record.environment,
        "id": record.id,
    }
    shares = line["certified_accuracy"] or [None] * (len(eps) if isinstance(eps, list) else 1)
    for one, share in zip(eps if isinstance(eps, list) else [eps], shares, strict=True):
        yield line | {"eps": one, "certified_accuracy": share}


def measured(record: Record) -> dict[str, Any]:
    """The numbers of a record for the columns of `to_frame`; None for what it does not measure."""
    metrics, n = record.metrics, record.task.data.images
    names = ["clean_accuracy", "adversarial_accuracy", "robust_accuracy", "robust_low"]
    names += ["robust_high", "bound", "sampled_jacobian", "certified_accuracy", "confidence"]
    found: dict[str, Any] = dict.fromkeys(names)
    if isinstance(metrics, (AccuracyMetrics, LipschitzMetrics, RadiiMetrics)):
        found |= {name: value for name, value in metrics if name in found}
    if isinstance(metrics, AccuracyMetrics):
        ends = wilson_interval(metrics.robust_accuracy * n, n)
        found["robust_low"], found["robust_high"] = ends
    return found


def to_json(board: Board) -> str:
    """The rows, tests, transfer matrices and facts of a board; one trailing newline."""
    data = {
        "schema_version": 2,
        "about": _plain(board.about),
        "ranking_eps": board.rank_eps,
        "rows": [_row(board, row) for row in board.rows],
        "noisy_engines": _plain(board.noisy),
        "comparisons": _plain(board.comparisons),
        "transfer": _plain(board.transfers),
        "challenges": _plain(board.challenges),
        "superseded": board.superseded,
        "provenance": {"versions": dict(board.versions), "commands": board.commands},
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _row(board: Board, row: Row) -> dict[str, Any]:
    card, proved = row.model.card, row.proved(board.norm)
    facts = {} if card is None else card.model_dump(mode="json")
    # A package's version is no part of what was measured: it stands with the provenance.
    facts.pop("version", None)
    ends = {} if proved is None else proved.accuracy
    intervals = [
        {"eps": eps, "certified": ends[eps].mean if eps in ends else None, "worst_case": worst.mean}
        for eps, worst in row.worst_at.items()
    ]
    return {**_plain(row), "model": row.model.name, "card": facts, "intervals": intervals}


def _plain(value: Any) -> Any:
    """A part of the board as what JSON knows; radii of single images are left out."""
    if isinstance(value, SeedValues):
        by_seed = {str(seed): one for seed, one in value.by_seed}
        notes = _plain(value.notes)
        return {"mean": value.mean, "std": value.std, "by_seed": by_seed, "notes": notes}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return [_entry(key, one) for key, one in value.items()]
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value if not isinstance(one, ImageRadii)]
    return value


def _entry(key: Any, value: Any) -> dict[str, Any]:
    """What a mapping holds for a setting, a budget, or a pair of source and target."""
    if isinstance(key, Setting):
        named: dict[str, Any] = dict(vars(key))
    else:
        named = {"source": key[0], "target": key[1]} if isinstance(key, tuple) else {"eps": key}
    found = _plain(value)
    if not isinstance(found, dict):
        found = {"count": found} if isinstance(found, int) else {"interval95": found}
    return {**named, **found}
