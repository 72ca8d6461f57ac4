"""A page a model: what it is, what it withstands, and where every number comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qbench.records.record import Record
from qbench.records.statistics import mean_std
from qbench.report.answer import training_of
from qbench.report.board import Board, Row
from qbench.report.datasets import known_dataset
from qbench.report.export import measured
from qbench.report.flag_meanings import MEANINGS
from qbench.report.seed_values import SeedValues
from qbench.report.significance import LEVEL
from qbench.report.table import Table, left, right, score, text
from qbench.report.tables import bounds, certified, other
from qbench.report.text import norm
from qbench.report.transfer import Setting
from qbench_site.circuits import circuit_of, drawing, facts
from qbench_site.content import File, Page, Source
from qbench_site.start import Ranking


def pages(source: Source) -> Iterator[Page | File]:
    """A page of every model of a board."""
    dataset = known_dataset(source.results, source.plugins)
    ranking, whole = Ranking(source), Whole(source.board)
    by_model: dict[str, list[Record]] = {}
    for record in source.results.records:
        if record.task.kind != "transfer":
            by_model.setdefault(record.task.model.name, []).append(record)
    for row in source.board.rows:
        name = row.model.name
        circuit = circuit_of(row.model.card, dataset, source.plugins)
        view = View(source, whole, row, by_model.get(name, []))
        yield Page(
            path=source.page_of(name),
            template="model.html.j2",
            title=name,
            section="ranking",
            source=source,
            context={
                "row": row,
                "view": view,
                "ranking": ranking,
                "circuit": circuit and facts(circuit),
                "drawing": circuit and drawing(circuit),
                "meanings": MEANINGS,
                "training": training_of(row.model),
            },
            data=view.charts(ranking),
            scripts=("sortable.js", "sortable.a11y.js", "uplot.js", "charts.js"),
            styles=("uplot.css",),
        )


class Whole:
    """Tables about all models of a board, made once: a model's page shows its own lines.

    Args:
        board: The board.
    """

    def __init__(self, board: Board) -> None:
        self.certificates: list[tuple[str, Table]] = []
        for name in ("linf", "l2"):
            proofs = certified.by_certifier(board, name)
            self.certificates.append((f"Proofs in {norm(name)}", proofs))
            probable = certified.probabilistic(board, name)
            if probable is not None:
                title = f"With some confidence only, in {norm(name)}"
                self.certificates.append((title, probable))
        self.lipschitz = bounds.lipschitz(board)
        self.engines = other.noisy_engines(board)
        self.models = [row.model for row in board.noisy]  # of each line of that table
        self.challenges = other.challenges(board)


@dataclass(frozen=True)
class View:
    """What the page of one model shows.

    Args:
        source: The board.
        whole: Its tables.
        row: The model's.
        records: About it, without transfers, of any status.
    """

    source: Source
    whole: Whole
    row: Row
    records: Sequence[Record]

    def accuracies(self) -> Table:
        """Every attack and the worst case, at every budget; certified accuracy above them."""
        board, row = self.source.board, self.row
        proved = row.proved(board.norm)
        budgets = sorted({*board.budgets, *board.certified_budgets(board.norm)})
        lines: list[Sequence[Any]] = []
        if proved is not None:
            lines.append([text("certified"), *[score(proved.accuracy.get(e)) for e in budgets]])
        lines.append(
            [text("worst case"), *[score(row.worst_at.get(e), bold=True) for e in budgets]]
        )
        for attack in reversed(board.by_strength):
            cells = [score(row.robust.get(Setting(attack, eps))) for eps in budgets]
            lines.append([text(attack), *cells])
        heads = [f"ε = {eps:g}" for eps in budgets]
        return Table(left("Accuracy") + right(*heads), lines)

    def certificates(self) -> list[tuple[str, Table]]:
        """What each certifier proves of single images, by norm, with a title."""
        return [(title, own) for title, t in self.whole.certificates if (own := self._own(t)).rows]

    def lipschitz(self) -> Table:
        """Lipschitz bounds, by certifier."""
        return self._own(self.whole.lipschitz)

    def engines(self) -> Table:
        """The model on other engines than the one that ranks."""
        table, name = self.whole.engines, self.row.model.name
        lines = zip(table.rows, self.whole.models, strict=True)
        return replace(table, rows=[line for line, model in lines if model == name])

    def challenges(self) -> Table:
        """Images that others sent for it."""
        return self._own(self.whole.challenges)

    def transfer(self) -> Table:
        """Accuracy on images made for every other model, and of every other model on its images."""
        board, name = self.source.board, self.row.model.name
        heads = []
        for one in board.transfers:
            where = f"{one.setting.attack}, ε = {one.setting.eps:g}"
            heads += [f"{name} on theirs ({where})", f"theirs on {name}’s ({where})"]
        lines: list[Sequence[Any]] = []
        for model in board.models:
            if model.name != name:
                cells = [
                    score(one.entries[pair], notes=False)
                    for one in board.transfers
                    for pair in ((model.name, name), (name, model.name))
                ]
                lines.append([text(model.name), text(model.family), *cells])
        return Table(left("Other model", "Family") + right(*heads), lines)

    def tests(self) -> dict[str, list[str]]:
        """Other models by what the paired tests say of this one; empty without tests."""
        name = self.row.model.name
        found: dict[str, list[str]] = {"more": [], "less": [], "open": []}
        for one in self.source.board.comparisons:
            if name == one.first:
                found["more" if one.p_holm < LEVEL else "open"].append(one.second)
            elif name == one.second:
                found["less" if one.p_holm < LEVEL else "open"].append(one.first)
        return found if any(found.values()) else {}

    def provenance(self) -> list[dict[str, Any]]:
        """Every record about the model but the transfers, in the order of its kind and seed."""
        found = []
        for record in sorted(self.records, key=_place):
            task = record.task
            found.append(
                {
                    "kind": task.kind,
                    "what": record.label or _certifier(record),
                    "norm": getattr(task, "norm", None),
                    "eps": getattr(task, "eps", None),
                    "seed": task.model.seed,
                    "status": record.status,
                    "reason": record.reason,
                    "value": measured(record),
                    "engine": getattr(getattr(task, "engine", None), "name", None),
                    "environment": record.environment,
                    "id": record.id,
                }
            )
        return found

    def weights(self) -> list[tuple[int, str]]:
        """Fingerprints of the weights, by seed."""
        named = {r.task.model.seed: r.weights for r in self.records if r.weights}
        return sorted(named.items())

    def environments(self) -> list[tuple[str, str]]:
        """Versions that the model's records name."""
        known = self.source.results.environments
        used = sorted({record.environment for record in self.records} & set(known))
        return [(e, ", ".join(f"{k} {v}" for k, v in sorted(known[e].items()))) for e in used]

    def charts(self, ranking: Ranking) -> dict[str, Any]:
        """Points of the two charts; a chart without points is left out."""
        found: dict[str, Any] = {}
        board, row = self.source.board, self.row
        budgets = [0.0, *ranking.budgets]
        if len(ranking.budgets) > 1:
            lower, upper = ranking.ends(row)
            clean = row.clean.mean
            attacks = {
                attack: [clean, *[_mean(row.robust.get(Setting(attack, e))) for e in budgets[1:]]]
                for attack in board.attacks
            }
            found["robustness"] = {
                "eps": budgets,
                "certified": [None if lower[-1] is None else clean, *lower],
                "left": [clean, *upper],
                "worst": [clean, *[_mean(row.worst_at.get(eps)) for eps in budgets[1:]]],
                "attacks": attacks if len(attacks) > 1 else {},
            }
        curve = next((one for one in board.curves if one.model == row.model.name), None)
        if curve is not None:
            length = max(len(values) for _, values in curve.by_seed)
            at = [[v[e] for _, v in curve.by_seed if e < len(v)] for e in range(length)]
            found["training"] = {
                "epoch": list(range(1, length + 1)),
                "mean": [round(mean_std(values)[0], 4) for values in at],
                "low": [round(min(values), 4) for values in at],
                "high": [round(max(values), 4) for values in at],
                "seeds": len(curve.by_seed),
            }
        return found

    def _own(self, table: Table) -> Table:
        """The lines of a table about this model, without its name."""
        rows = [line[1:] for line in table.rows if line[0].shown == self.row.model.name]
        return replace(table, columns=table.columns[1:], rows=rows)


def _mean(values: SeedValues | None) -> float | None:
    return None if values is None or values.mean is None else round(values.mean, 4)


def _certifier(record: Record) -> str | None:
    method = getattr(record.task, "certifier", None)
    return None if method is None else str(method.name)


def _place(record: Record) -> tuple[Any, ...]:
    kinds = ("training", "checks", "attack", "challenge", "lipschitz", "radii", "fresh")
    task = record.task
    eps = getattr(task, "eps", None)
    where = kinds.index(task.kind) if task.kind in kinds else len(kinds)
    return (
        where,
        record.label or _certifier(record) or "",
        str(np.max(eps) if eps else 0),
        task.model.seed,
        record.id,
    )
