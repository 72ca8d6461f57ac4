"""The two families, tests of pairs of models, flags, and models on other engines."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.answer import FAMILIES, matches, middle
from qbench.report.board import Board
from qbench.report.flags import Flag
from qbench.report.noisy_engines import certified_budgets
from qbench.report.significance import LEVEL, Comparison
from qbench.report.table import Cell, Table, left, number, right, score, text
from qbench.report.text import listed, mean, norm, p_value
from qbench.text import one_line

_SAW = {"ideal": "the ideal simulator", "engine": "the engine", None: None}


def families(board: Board) -> Table:
    """The best and the middle model of each family, over all models and by kind of training."""
    rows: list[Sequence[Cell]] = []
    for match in matches(board):
        line: list[Cell] = [text(match.training or "any")]
        for family in (match.quantum, match.classical):
            best = f"{family[0].model.name} {mean(family[0].worst)}" if family else None
            line += [text(best, whole=True), number(middle(family), ".3f")]
            line.append(number(len(family), "d"))
        test = match.test
        sign = 1 if match.ahead == "quantum" else -1
        line.append(text(None if test is None else _with_interval(test, sign)))
        rows.append([*line, text(None if match.p is None else p_value(match.p))])
    heads = left("Training")
    for name in FAMILIES:
        heads += left(f"Best {name}") + right("Median", "Models")
    return Table(heads + right("Difference", "p"), rows)


def more_robust_than(board: Board) -> Table:
    """Which models are more robust than which others, as far as the tests allow."""
    ranked = [row for row in board.rows if row.rank is not None]
    place = {row.model.name: number for number, row in enumerate(ranked)}
    found: dict[str, list[Comparison]] = {}
    for one in board.comparisons:
        if one.p_holm < LEVEL:
            found.setdefault(one.first, []).append(one)
    rows: list[Sequence[Cell]] = []
    for row in ranked:
        beaten = sorted(found.get(row.model.name, []), key=lambda one: place[one.second])
        names = ", ".join(one.second for one in beaten)
        rows.append(
            [
                text(row.model.name),
                score(row.worst, std=False, notes=False),
                text(_between(row.worst95)),
                number(len(row.worst.by_seed), "d"),
                text(names, whole=True),
            ]
        )
    more = f"More robust than (Holm-corrected p < {LEVEL:g})"
    return Table(left("Model") + right("Mean", "95 % interval", "Seeds") + left(more), rows)


def comparisons(board: Board) -> Table:
    """Every test."""
    rows: list[Sequence[Cell]] = [
        [
            text(one.first),
            text(one.second),
            text(_with_interval(one)),
            text(p_value(one.p)),
            text(p_value(one.p_holm)),
        ]
        for one in board.comparisons
    ]
    heads = right("Difference of means", "p", "p (Holm)")
    return Table(left("Model", "Other") + heads, rows, f"Every test ({len(rows)})")


def _between(ends: tuple[float, float] | None) -> str | None:
    return None if ends is None else "{:.3f} to {:.3f}".format(*ends)


def _with_interval(test: Comparison, sign: int = 1) -> str:
    """`0.093 (0.031 to 0.155)`, minus signs as such; with sign −1 the other way round."""
    low, high = sorted([sign * test.low, sign * test.high])
    shown = f"{sign * test.difference:.3f} ({low:.3f} to {high:.3f})"
    return shown.replace("-", "−")


def flags(raised: Sequence[Flag]) -> Table:
    """For which models and seeds a flag was raised, and the numbers behind it."""
    rows: list[Sequence[Cell]] = []
    for one in raised:
        numbers = [f"{name}: {value:.3f}" for name, value in one.numbers]
        evidence = "; ".join([*numbers, *map(one_line, one.details)])
        rows.append([text(one.model), text(listed(one.seeds)), text(evidence, whole=True)])
    return Table(left("Model", "Seeds", "Behind it"), rows)


def challenges(board: Board) -> Table:
    """Images that others sent: whose, for which model, and how many broke it."""
    rows: list[Sequence[Cell]] = [
        [
            text(one.model),
            number(one.seed, "d"),
            number(one.eps),
            text(one.sender),
            number(one.sent, "d"),
            number(one.broke, "d"),
            number(one.alone, "d"),
        ]
        for one in board.challenges
    ]
    heads = right("Seed", "ε"), left("Sent by"), right("Sent", "Broke it", "Nothing else did")
    return Table([*left("Model"), *heads[0], *heads[1], *heads[2]], rows)


def noisy_engines(board: Board) -> Table:
    """Every model on engines beside the one that ranks, by the name that asks for it, unranked."""
    budgets = sorted({eps for row in board.noisy for eps in row.worst})
    signal = any(row.signal.by_seed for row in board.noisy)
    columns = left("Model", "Kind", "Attacks saw")
    columns += right("Images", "Clean")
    proved = certified_budgets(board.noisy)
    columns += right(*[f"Certified, {norm(about)} ε = {eps:g}" for about, eps in proved])
    columns += right(*["Confidence"] * bool(proved))
    for eps in budgets:
        columns += right(f"Worst case, ε = {eps:g}", "95 % interval")
    columns += right(*["Signal scale s"] * signal)
    rows: list[Sequence[Cell]] = []
    for row in board.noisy:
        line: list[Cell] = [
            text(row.name, notes=row.notes),
            text(", ".join([row.kind, *row.mitigation])),
            text(_SAW[row.attacks_saw]),
            number(row.images, "d"),
            score(row.clean),
            *[score(row.certified_at(*budget)) for budget in proved],
        ]
        if proved:
            line.append(number(min((one.confidence for one in row.certified), default=None)))
        for eps in budgets:
            line += [score(row.worst.get(eps)), text(_between(row.worst95.get(eps)))]
        rows.append([*line, *[score(row.signal)] * signal])
    return Table(columns, rows)


def hardware(board: Board) -> list[tuple[str, str]]:
    """Name and facts of every row that ran on hardware."""
    found = []
    for row in board.noisy:
        if row.kind == "hardware":
            facts = [f"run {', '.join(row.dates)}"] if row.dates else []
            facts += [f"calibrated {', '.join(row.calibrated)}"] if row.calibrated else []
            facts += [f"mitigation: {', '.join(row.mitigation)}"] if row.mitigation else []
            facts += [f"jobs {', '.join(row.jobs)}"]
            found.append((row.name, "; ".join(facts)))
    return found
