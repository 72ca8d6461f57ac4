"""Flags: signs that an evaluation overstates robustness, and the numbers behind them."""

from __future__ import annotations

from qbench.reporting.board import Board, Finding
from qbench.reporting.findings import MEANINGS
from qbench.reporting.text import DASH, escape, listed, table


def flags(board: Board) -> list[str]:
    """Each flag that was raised: what it means, for which models and seeds, and why."""
    found = {row.model.name: row.findings for row in board.rows}
    raised = [one for model in board.models for one in found[model.name]]
    if not raised:
        if not board.diagnosed:
            return []
        return [
            "## Flags",
            f"None was raised for the {board.diagnosed} trained models that were diagnosed.",
        ]
    parts = [
        "## Flags",
        "Signs that robustness is overstated. A flag changes no number. Behind it stand shares of "
        "images: means over the seeds that raise it, or of the seed that shows it most.",
    ]
    for flag in sorted({one.flag for one in raised}):
        meaning = MEANINGS[flag]
        rows = [
            [escape(one.model), listed(one.seeds), _evidence(one)]
            for one in raised
            if one.flag == flag
        ]
        parts += [
            f"**⚑ {flag}.** {meaning.sign} {meaning.remedy}",
            table(["Model", "Seeds", "Behind it"], rows, ["left", "left", "left"]),
        ]
    return parts


def _evidence(one: Finding) -> str:
    numbers = [f"{escape(name)}: {value:.3f}" for name, value in one.numbers]
    return "; ".join([*numbers, *map(escape, one.details)]) or DASH
