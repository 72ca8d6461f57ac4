"""The leaderboard as plain text, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qbench.protocols import Protocol
from qbench.records.results import Results
from qbench.report.board import Board, Row
from qbench.report.collect import collect
from qbench.report.flag_meanings import MEANINGS
from qbench.report.noisy_engines import certified_budgets
from qbench.report.render import plain
from qbench.report.seed_values import SeedValues
from qbench.report.table import Cell, Table, flag_count, interval, left, number, right, score, text
from qbench.report.text import Footnotes, listed, norm, short, spread
from qbench.text import one_line, wrapped

WIDTH = 80
_NAMES = (26, 20, 16)  # characters of a model's name, as long as the table allows
_MOST_BUDGETS = 3


def summary_table(
    results: Results, *, eps: float | None = None, protocol: Protocol | None = None
) -> str:
    """Ranks and accuracies, and why what is missing is missing; no trailing newline.

    Args:
        results, eps, protocol: As for `leaderboard.build`.

    Raises:
        StoreError: The results do not belong together.
        UsageError: Nothing was attacked at `eps`.
    """
    board = collect(results, eps=eps, protocol=protocol, transferred=False)
    notes = Footnotes(board.about.seeds, plain=True)
    makers: list[Callable[[int], Table]] = []
    if board.settings:
        makers.append(lambda longest: _ranking(board, longest))
    else:
        for about in ("linf", "l2"):
            if _proofs(board, about, 9).rows:
                makers.append(lambda longest, about=about: _proofs(board, about, longest))  # type: ignore[misc]
    if board.noisy:
        makers.append(lambda longest: _noisy(board, longest))
    if not makers:
        makers.append(lambda longest: _ranking(board, longest))
    parts = [_fitting(maker, notes) for maker in makers]
    for lines in (notes.lines(), _missing(board), _unranked(board), _flags(board)):
        if lines:
            parts.append("\n".join(map(wrapped, lines)))
    return "\n\n".join(parts)


def _fitting(maker: Callable[[int], Table], notes: Footnotes) -> str:
    """The table with names as long as its width allows, and without columns beyond it."""
    for longest in _NAMES:
        table = maker(longest)
        drawn = plain(table, notes)
        if _width(drawn) <= WIDTH:
            return drawn
    while _width(drawn) > WIDTH and len(table.columns) > 3:
        keep = len(table.columns) - 1
        table = Table(table.columns[:keep], [row[:keep] for row in table.rows])
        drawn = plain(table, notes)
    return drawn


def _width(drawn: str) -> int:
    return max(map(len, drawn.splitlines()))


def _ranking(board: Board, longest: int) -> Table:
    """Rank, model, clean accuracy, worst cases, what is proved at the ranking budget, flags."""
    budgets = board.budgets if len(board.budgets) <= _MOST_BUDGETS else ()
    budgets = tuple(eps for eps in budgets if eps != board.rank_eps)
    proofs = board.rank_eps in board.certified_budgets(board.norm)
    flagged = any(row.flags for row in board.rows)
    name = "Worst" if board.several or not board.attacks else short(board.measure, 12)
    about = "" if board.norm in (None, "linf") else f" {norm(str(board.norm))}"
    ranked = "" if board.rank_eps is None else f"{about} ε={board.rank_eps:g}"
    columns = right("Rank") + left("Model") + right("Clean", f"{name}{ranked}")
    columns += right(*["Certified"] * proofs) + left(*["Flags"] * flagged)
    columns += right(*[f"ε={eps:g}" for eps in budgets])
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        line: list[Cell] = [number(row.rank), text(short(row.model.name, longest), notes=row.notes)]
        line += [score(row.clean, std=False), _starred(row.worst, board.several)]
        if proofs:
            proved = row.proved(board.norm)
            line.append(
                score(proved.accuracy[board.rank_eps or 0.0] if proved else None, std=False)
            )
        line += [flag_count(len(row.flags))] * flagged
        line += [score(row.worst_at[eps], std=False, notes=False) for eps in budgets]
        rows.append(line)
    return Table(columns, rows)


def _proofs(board: Board, about: str, longest: int) -> Table:
    """What is proved where nothing was attacked: mean certified accuracies in a norm."""
    rows: list[Sequence[Cell]] = []
    budgets: list[float] = []
    for row in board.rows:
        for by, accuracy in _proved(row, about):
            budgets = list(accuracy)
            why = sorted({note for values in accuracy.values() for note in values.notes})
            cells: list[Cell] = [text(short(row.model.name, longest), notes=row.notes)]
            cells += [text(by, notes=tuple(why)), score(row.clean, std=False, notes=False)]
            rows.append(
                [*cells, *[score(values, std=False, notes=False) for values in accuracy.values()]]
            )
    heads = [f"{norm(about)} ε={eps:g}" for eps in budgets]
    return Table(left("Model", "Radii") + right("Clean", *heads), rows)


def _proved(row: Row, about: str) -> list[tuple[str, dict[float, SeedValues]]]:
    found = [("proved", dict(one.accuracy)) for one in row.certified if one.norm == about]
    for one in row.probabilistic:
        if one.norm == about:
            name = f"{short(one_line(one.certifier), 16)} {one.confidence:g}"
            found.append((name, dict(one.accuracy)))
    return found


def _noisy(board: Board, longest: int) -> Table:
    """Models on engines beside the one that ranks: intervals where anything is certified."""
    budgets = sorted({eps for row in board.noisy for eps in row.worst})
    about = board.norm or "linf"
    proved = [eps for norm, eps in certified_budgets(board.noisy) if norm == about]
    columns = left("On other engines", "Attacked")
    columns += right("Clean", *[f"ε={eps:g}" for eps in budgets or proved])
    rows: list[Sequence[Cell]] = []
    for row in board.noisy:
        name = short(one_line(", ".join([row.name, *row.mitigation])), longest + 10)
        line: list[Cell] = [text(name, notes=row.notes), text(row.attacks_saw)]
        line.append(score(row.clean, std=False, notes=False))
        for eps in budgets or proved:
            lower, upper = row.certified_at(about, eps), row.worst.get(eps)
            if lower is None:
                line.append(score(upper, std=False, notes=False))
            else:
                line.append(interval(lower, upper or SeedValues(), std=False, notes=False))
        rows.append(line)
    return Table(columns, rows)


def _starred(values: SeedValues, several: bool) -> Cell:
    """With a star where attacks are missing: they are listed below once, not in every cell."""
    if not several or not values.notes:
        return score(values)
    return text(f"{spread(values)} *")


def _missing(board: Board) -> list[str]:
    """Why attacks have no result, each reason once with all that it holds for."""
    if not board.several:
        return []
    found: dict[tuple[str, str, str], set[str]] = {}
    for row in board.rows:
        for setting, values in row.robust.items():
            for note in values.notes:
                why = (setting.attack, note.status, note.reason)
                found.setdefault(why, set()).add(row.model.name)
    lines = []
    for (attack, status, reason), models in sorted(found.items()):
        which = "every model" if len(models) == len(board.models) else ", ".join(sorted(models))
        lines.append(f"* {one_line(attack)} {status} ({which}): {one_line(reason)}")
    return lines


def _unranked(board: Board) -> list[str]:
    """Why models have no rank: that attacks are missing is said above."""
    return [
        f"✗ {one_line(row.model.name)} is not ranked: {one_line('; '.join(row.obstacles))}"
        for row in board.rows
        if row.obstacles
    ]


def _flags(board: Board) -> list[str]:
    raised: dict[str, list[str]] = {}
    rows = {row.model.name: row for row in board.rows}
    for model in board.models:
        row = rows[model.name]
        for one in row.flags:
            which = "" if one.seeds == row.seeds else f" (seed {listed(one.seeds)})"
            raised.setdefault(one.name, []).append(f"{model.name}{which}")
    return [
        f"⚑ {flag}: {', '.join(models)}. {MEANINGS[flag].sign}"
        for flag, models in sorted(raised.items())
    ]
