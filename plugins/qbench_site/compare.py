"""Compare models: their curves, their facts, and the paired tests between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qbench.report.answer import training_of
from qbench.report.board import Row
from qbench.report.significance import LEVEL
from qbench.report.tables import other
from qbench_site.content import File, Page, Source
from qbench_site.render import as_script
from qbench_site.start import Ranking

FIRST = 2  # models that are compared when the page opens: the best ones of two families
SHOWN = 300  # tests in the table without JavaScript; with more of them it is in the downloads


def pages(source: Source) -> Iterator[Page | File]:
    """The comparison of a board's models."""
    board, ranking = source.board, Ranking(source)
    place = {row.model.name: number for number, row in enumerate(board.rows)}
    tests = [
        [place[o.first], place[o.second], o.difference, o.low, o.high, o.p, o.p_holm]
        for o in board.comparisons
    ]
    data = {
        "eps": [0.0, *ranking.budgets],
        "attacked": [0.0, *board.budgets],
        "ranking": board.rank_eps,
        "level": LEVEL,
        "models": [_facts(source, ranking, row) for row in board.rows],
        "tests": tests,
    }
    file = f"{source.folder}data/compare.js"
    yield File(file, as_script("compare", data))
    yield Page(
        path=f"{source.folder}compare.html",
        template="compare.html.j2",
        title="Compare",
        section="compare",
        source=source,
        context={
            "significant": other.more_robust_than(board) if board.comparisons else None,
            "tests": other.comparisons(board) if len(tests) <= SHOWN else None,
            "chosen": _first(ranking),
            "level": LEVEL,
        },
        scripts=("sortable.js", "sortable.a11y.js", file, "uplot.js", "charts.js", "compare.js"),
        styles=("uplot.css",),
    )


def _first(ranking: Ranking) -> list[str]:
    best = [
        next((r.model.name for r in ranking.ranked if r.model.family == family), None)
        for family in ranking.families
    ]
    return [name for name in best if name is not None][:FIRST]


def _facts(source: Source, ranking: Ranking, row: Row) -> dict[str, Any]:
    lower, upper = ranking.ends(row)
    certified = ranking.certified(row)
    return {
        "name": row.model.name,
        "page": f"models/{source.page_of(row.model.name).rpartition('/')[2]}",
        "family": row.model.family,
        "rank": row.rank,
        "clean": row.clean.mean,
        "worst": row.worst.mean,
        "worst95": row.worst95,
        "proved": certified.mean if certified else None,
        "parameters": row.model.parameters,
        "training": training_of(row.model),
        "gradients": row.model.gradients,
        "flags": [flag.name for flag in row.flags],
        "certified": lower,
        "left": upper,
    }
