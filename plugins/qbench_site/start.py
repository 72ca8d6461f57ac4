"""The start page: the question, its answer, and the ranking with an interval drawn in each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from qbench.report.answer import FAMILIES, TRAININGS, clauses, training_of
from qbench.report.board import Board, Row
from qbench.report.noisy_engines import split
from qbench.report.seed_values import SeedValues
from qbench.report.tables import other
from qbench.report.text import DASH, spread
from qbench_site.content import File, Page, Source

_STEPS = 40  # of the slider, beside the budgets of the board
_DIGITS = 4  # of what the slider shows: of 200 images and five seeds a share has three


def pages(source: Source) -> Iterator[Page | File]:
    """The ranking of a board."""
    view = Ranking(source)
    yield Page(
        path=f"{source.folder}index.html",
        template="start.html.j2",
        title="Are quantum classifiers more robust?",
        section="ranking",
        source=source,
        context={
            "view": view,
            "clauses": clauses(source.board),
            "families": other.families(source.board) if clauses(source.board) else None,
        },
        data={"ranking": view.data} if len(view.budgets) > 1 else {},
        scripts=("sortable.js", "sortable.a11y.js", "start.js"),
    )


class Ranking:
    """The rows of a board as the start page shows them.

    Args:
        source: The board.
    """

    def __init__(self, source: Source) -> None:
        self.board: Board = source.board
        self._engines: dict[str, set[str]] = {}
        for record in split(source.results.records, source.results.cards)[0]:
            if record.task.kind == "attack" and record.exact and record.task.engine is not None:
                self._engines.setdefault(record.task.model.name, set()).add(record.task.engine.name)

    @property
    def ranked(self) -> list[Row]:
        """Best first."""
        return [row for row in self.board.rows if row.rank is not None]

    @property
    def unranked(self) -> list[Row]:
        """Those with a reason why they have no rank."""
        return [row for row in self.board.rows if row.rank is None]

    @property
    def families(self) -> list[str]:
        """Families on the board, the two of the question first."""
        there = {model.family for model in self.board.models}
        return [*(one for one in FAMILIES if one in there), *sorted(there - set(FAMILIES))]

    @property
    def trainings(self) -> list[str]:
        """Kinds of training that any model has."""
        there = {training_of(model) for model in self.board.models}
        return [one for one in TRAININGS if one in there]

    @property
    def engines(self) -> list[str]:
        """Every engine that a row ran on, sorted."""
        exact = {name for names in self._engines.values() for name in names}
        return sorted(exact | {row.engine for row in self.board.noisy})

    def engine(self, row: Row) -> str:
        """Engines that a model's exact scores came from; a dash for one without circuits."""
        return ", ".join(sorted(self._engines.get(row.model.name, ()))) or DASH

    def training(self, row: Row) -> str:
        """How it was trained, one of `TRAININGS`, or a dash."""
        return training_of(row.model) or DASH

    def family_of(self, model: str) -> str:
        """The family of a model by name; `unknown` for one without exact scores."""
        return next((one.family for one in self.board.models if one.name == model), "unknown")

    def training_named(self, model: str) -> str:
        """How a model by name was trained, or a dash."""
        found = next((one for one in self.board.models if one.name == model), None)
        return DASH if found is None else training_of(found) or DASH

    def certified(self, row: Row) -> SeedValues | None:
        """Certified accuracy at the ranking budget."""
        proved = row.proved(self.board.norm)
        eps = self.board.rank_eps
        return None if proved is None or eps is None else proved.accuracy.get(eps)

    @cached_property
    def budgets(self) -> list[float]:
        """What the slider stops at: the budgets of the board, and steps where curves exist."""
        stops = {*self.board.budgets, *self.board.certified_budgets(self.board.norm)}
        curves = [row for row in self.board.rows if self._has_curves(row)]
        if curves and stops:
            stops |= {float(f"{eps:.6g}") for eps in np.linspace(0, max(stops), _STEPS + 1)[1:]}
        return sorted(stops)

    @property
    def data(self) -> dict[str, Any]:
        """What the slider shows: by model, [certified, worst case] at every stop.

        At a budget that was attacked the worst case is that of the board, and elsewhere the share
        of images that nothing on record broke within it.
        """
        return {
            "eps": self.budgets,
            "attacked": [eps in self.board.budgets for eps in self.budgets],
            "ranking": self.board.rank_eps,
            "rows": {row.model.name: self.ends(row) for row in self.board.rows},
        }

    def _has_curves(self, row: Row) -> bool:
        proved = row.proved(self.board.norm)
        return proved is not None and any(one.n for one in proved.images)

    def ends(self, row: Row) -> list[list[float | None]]:
        """Certified accuracy and worst case of a model at every stop of the slider."""
        proved = row.proved(self.board.norm)
        lower: list[float | None] = [None] * len(self.budgets)
        upper: list[float | None] = [None] * len(self.budgets)
        if proved is not None and self._has_curves(row):
            drawn = proved.curves(np.array(self.budgets))
            lower[:], upper[:] = (map(float, one) for one in drawn)
        for place, eps in enumerate(self.budgets):
            if proved is not None and eps in proved.accuracy:
                lower[place] = proved.accuracy[eps].mean
            if eps in row.worst_at:
                upper[place] = row.worst_at[eps].mean
        return [_rounded(lower), _rounded(upper)]

    def noisy(self) -> list[dict[str, Any]]:
        """Rows on engines beside the one that ranks, at the ranking budget where there is one."""
        eps = self.board.rank_eps
        found = []
        for row in self.board.noisy:
            at = eps if eps in row.worst else min(row.worst, default=None)
            worst = row.worst.get(at, SeedValues()) if at is not None else SeedValues()
            found.append({"row": row, "eps": at, "worst": spread(worst), "mean": worst.mean})
        return found


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(value, _DIGITS) for value in values]
