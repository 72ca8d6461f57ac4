"""What is proved of single images, beside what attacks broke."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qbench.report.board import Board, Row
from qbench.report.certificate_types import Certified, Probabilistic
from qbench.report.seed_values import Note, SeedValues
from qbench.report.table import Cell, Table, interval, left, number, right, score, text


def intervals(board: Board, norm: str) -> Table:
    """Certified accuracy at every budget in a norm, beside the worst case where it is known."""
    budgets = board.certified_budgets(norm)
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        if (proved := row.proved(norm)) is not None:
            model = text(row.model.name, notes=_notes(proved.accuracy.values()))
            cells = [_interval(row, proved, eps, norm == board.norm) for eps in budgets]
            rows.append([model, score(row.clean, std=False, notes=False), *cells])
    return Table(left("Model") + right("Clean", *[f"ε = {eps:g}" for eps in budgets]), rows)


def _interval(row: Row, proved: Certified, eps: float, attacked: bool) -> Cell:
    lower, upper = proved.accuracy[eps], row.worst_at.get(eps) if attacked else None
    if upper is None or upper.mean is None:
        prefix = "≥ " if attacked and row.worst_at else ""
        return score(lower, std=False, prefix=prefix, notes=False)
    return interval(lower, upper, std=False, notes=False)


def by_certifier(board: Board, norm: str) -> Table:
    """What each certifier proves of each model, and the best of all for each image."""
    budgets = board.certified_budgets(norm)
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        proved = row.proved(norm)
        found = proved.by_certifier if proved else ()
        for one in found:
            line: list[Cell] = [text(row.model.name), text(one.certifier, notes=one.median.notes)]
            line += [score(one.accuracy[eps], notes=False) for eps in budgets]
            line.append(score(one.median, digits=4, notes=False))
            share = one.best if len(found) > 1 else None
            rows.append([*line, score(share, digits=2, notes=False)])
        if proved and len(found) > 1:
            line = [text(row.model.name), text("best for each image", bold=True)]
            line += [score(proved.accuracy[e], bold=True, notes=False) for e in budgets]
            median = score(proved.median, digits=4, bold=True, notes=False)
            rows.append([*line, median, text("")])
    columns = left("Model", "Certifier") + right(*[f"ε = {eps:g}" for eps in budgets])
    return Table(columns + right("Median radius", "Best for"), rows)


def probabilistic(board: Board, norm: str) -> Table | None:
    """Certificates that hold with some confidence only, or of smoothed models."""
    shown = [(row, one) for row in board.rows for one in row.probabilistic if one.norm == norm]
    if not shown:
        return None
    budgets = list(shown[0][1].accuracy)
    columns = left("Model", "Certifier", "Certified") + right("Confidence")
    columns += right(*[f"ε = {eps:g}" for eps in budgets])
    return Table(columns, [_probable(row, one, budgets) for row, one in shown])


def _probable(row: Row, one: Probabilistic, budgets: Sequence[float]) -> list[Cell]:
    what = "the smoothed model" if one.smoothed else "the model"
    what += f" ({one.detail})" if one.detail else ""
    scores = [one.accuracy.get(eps, SeedValues()) for eps in budgets]
    certifier = text(one.certifier, notes=scores[0].notes if scores else ())
    cells = [score(values, notes=False) for values in scores]
    return [text(row.model.name), certifier, text(what), number(one.confidence or None), *cells]


def _notes(scores: Iterable[SeedValues]) -> tuple[Note, ...]:
    return tuple(sorted({note for score in scores for note in score.notes}))
