"""Pages of synthetic runs, and the tables in them."""

from __future__ import annotations

import re
from itertools import takewhile

import numpy as np
from synthetic import QUANTUM, Run

from qbench.report.collect import collect
from qbench.report.page import page as render


def page_of(run: Run) -> str:
    return render(collect(run.results))


def small_run() -> Run:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(QUANTUM, 0, 0.1, yes, np.array([True, True, False, False]))
    run.attacked(QUANTUM, 1, 0.1, yes, yes)
    return run


def table_rows(page: str, section: str) -> list[list[str]]:
    """Cells of the first table after a heading, without the line under the head."""
    lines = page.split(f"## {section}")[1].split("\n## ")[0].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("|"))
    rows = list(takewhile(lambda line: line.startswith("|"), lines[start:]))
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return [cells[0], *cells[2:]]
