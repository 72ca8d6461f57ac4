"""Accuracies: the ranking, every budget, every attack, adversarial training, and the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbench.report.board import Board, Row
from qbench.report.seed_values import SeedValues
from qbench.report.table import (
    Cell,
    Table,
    flag_count,
    interval,
    left,
    number,
    right,
    score,
    text,
)
from qbench.report.text import DASH, mean, p_value, short
from qbench.report.transfer import Setting

_LONGEST_MEASURE = 16


def ranking(board: Board) -> Table:
    """Rank, model, family, clean accuracy, what ranks, and how many flags: at most 880 pixels."""
    columns = [*right("Rank"), *left("Model", "Family"), *right("Clean", measured(board))]
    columns += left("Flags")
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        ranks = at_budget(board, row, board.rank_eps)
        rows.append(
            [
                number(row.rank),
                # Numbers stay narrow: all that is to be said stands with the name.
                text(short(row.model.name), notes=(*row.notes, *row.clean.notes, *ranks.notes)),
                text(row.model.family),
                score(row.clean, notes=False),
                replace(ranks, notes=()),
                flag_count(len(row.flags)),
            ]
        )
    return Table(columns, rows)


def measured(board: Board) -> str:
    """What models are ranked by; its interval where there are certificates to bound it below."""
    name = short(board.measure, _LONGEST_MEASURE)
    if board.certified_budgets(board.norm):
        return f"[certified, {name}]"
    return name.capitalize() if board.several or not board.attacks else name


def at_budget(board: Board, row: Row, eps: float | None, *, bold: bool = False) -> Cell:
    """The worst case at a budget, as the upper end of an interval where something is proved."""
    worst = SeedValues() if eps is None else row.worst_at.get(eps, SeedValues())
    proved = row.proved(board.norm)
    if proved is None or eps is None:
        return score(worst, bold=bold)
    return interval(proved.accuracy.get(eps, SeedValues()), worst, bold=bold)


def budgets(board: Board) -> Table:
    """What ranks, at every budget that was attacked; the ranking one in bold."""
    columns = left("Model") + right("Clean", *[f"ε = {eps:g}" for eps in board.budgets])
    rows: list[Sequence[Cell]] = [
        [
            text(row.model.name),
            score(row.clean),
            *[at_budget(board, row, eps, bold=eps == board.rank_eps) for eps in board.budgets],
        ]
        for row in board.rows
    ]
    return Table(columns, rows, "Every budget")


def reference(board: Board) -> Table:
    """Accuracy under the reference attack at every budget."""
    settings = [setting for setting in board.settings if setting.attack == board.reference]
    rows: list[Sequence[Cell]] = [
        [text(row.model.name), *[score(row.robust[setting]) for setting in settings]]
        for row in board.rows
    ]
    columns = left("Model") + right(*[f"ε = {setting.eps:g}" for setting in settings])
    return Table(columns, rows, f"Under {board.reference} alone")


def attacked_alone(board: Board) -> Table:
    """Under the reference attack: accuracy after it alone, and both before and after it."""
    settings = [setting for setting in board.settings if setting.attack == board.reference]
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        line: list[Cell] = [text(row.model.name), score(row.clean)]
        for setting in settings:
            line += [score(row.attacked[setting]), score(row.robust[setting])]
        rows.append(line)
    heads = [f"ε = {s.eps:g}, {counted}" for s in settings for counted in ("attacked", "both")]
    return Table(
        left("Model") + right("Clean", *heads), rows, f"Attacked alone ({board.reference})"
    )


def attacks(board: Board) -> Table:
    """Every attack beside every model at the ranking budget, the strongest on each in bold."""
    rows_of = {row.model.name: row for row in board.rows}
    rows = [rows_of[model.name] for model in board.models]
    lines: list[Sequence[Cell]] = []
    for attack in board.by_strength:
        setting = Setting(attack, board.rank_eps or 0.0)
        line: list[Cell] = [text(attack)]
        for row in rows:
            bold = attack in board.strongest(row)
            line.append(score(row.robust.get(setting), std=False, bold=bold))
        lines.append(line)
    worst = [score(row.worst, std=False, notes=False) for row in rows]
    lines.append([text("worst case"), *worst])
    return Table(left("Attack") + right(*[row.model.name for row in rows]), lines)


def adversarial_training(board: Board) -> Table:
    """What training on attacked images changed, pair by pair."""
    measure = "Worst case" if board.several else board.measure
    heads = ["Clean accuracy", *[f"{measure}, ε = {eps:g}" for eps in board.budgets], "Gain"]
    pairs = {frozenset((c.first, c.second)): c for c in board.comparisons}
    rows: list[Sequence[Cell]] = []
    for base, other in board.trained_pairs:
        before, after = base.worst.mean, other.worst.mean
        gain = None if before is None or after is None else after - before
        test = pairs.get(frozenset((base.model.name, other.model.name)))
        line: list[Cell] = [text(other.model.name), text(base.model.name)]
        line.append(_change(base.clean, other.clean))
        line += [_change(base.worst_at[eps], other.worst_at[eps]) for eps in board.budgets]
        line.append(number(gain, "+.3f"))
        rows.append([*line, text(DASH if test is None else p_value(test.p_holm))])
    columns = left("Trained on attacked images", "Instead of") + right(*heads, "p (Holm)")
    return Table(columns, rows)


def _change(before: SeedValues, after: SeedValues) -> Cell:
    return text(f"{mean(before)} → {mean(after)}")


def models(board: Board) -> Table:
    """What each model is, how it was trained and tuned, and at the price of how many gradients."""
    columns = left("Model", "Structure") + right("Parameters", "Revision")
    columns += right("Epochs", "Trained at ε", "Gradients", "Seeds") + left("Plugin", "Tuning")
    rows: list[Sequence[Cell]] = []
    for row in board.rows:
        card = row.model.card
        recipe = card.recipe if card else None
        rows.append(
            [
                text(row.model.name),
                text(card.structure if card else ""),
                number(row.model.parameters, "d"),
                number(card.revision if card else None, "d"),
                number(recipe.epochs if recipe else None, "d"),
                number((recipe.adversarial_eps or None) if recipe else None),
                number(row.model.gradients, ",d"),
                number(len(row.seeds), "d"),
                text(card.plugin if card else ""),
                text(card.tuning if card else "", whole=True),
            ]
        )
    return Table(columns, rows, "Models")
