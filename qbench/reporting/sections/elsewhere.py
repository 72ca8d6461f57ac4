"""Models on engines that are not exact: sampled, noisy, on hardware."""

from __future__ import annotations

from qbench.reporting.board import Board
from qbench.reporting.elsewhere import EngineRow
from qbench.reporting.text import DASH, Footnotes, escape, spread, table


def elsewhere(board: Board, notes: Footnotes) -> list[str]:
    """A table of every such row, unranked, and what hardware ran."""
    if not board.elsewhere:
        return []
    budgets = sorted({eps for row in board.elsewhere for eps in row.worst})
    head = ["Model", "Kind", "Engine", "Shots", "Attacks saw", "Images", "Clean accuracy"]
    head += [f"Worst case, ε = {eps:g}" for eps in budgets]
    signal = any(row.signal.by_seed for row in board.elsewhere)
    head += ["Signal scale s"] if signal else []
    lines = []
    for row in board.elsewhere:
        worst = [row.worst.get(eps) for eps in budgets]
        line = [
            notes.mark(escape(row.model), row.notes),
            row.kind,
            escape(", ".join([row.engine, *row.mitigation])),
            DASH if row.shots is None else str(row.shots),
            "the exact twin" if row.crafted_on == "twin" else "the engine",
            str(row.images),
            spread(row.clean),
            *[DASH if one is None else spread(one) for one in worst],
        ]
        lines.append(line + ([spread(row.signal)] if signal else []))
    words = (
        "The same weights where scores are sampled, noisy, or come from a device. Nothing here is "
        "ranked, and no certificate speaks about it: the exact circuit is what ranks. Noise and "
        "shots hide gradients from attacks that look at scores, which is not robustness: attacks "
        "that saw the exact twin are the ones to compare."
    )
    if signal:
        words += (
            " The signal scale s is the slope of the scores on the exact ones: 1 without noise, 0 "
            "where nothing is left of them."
        )
    align = ["left", "left", "left", "right", "left", *["right"] * (len(head) - 5)]
    hardware = [_hardware(row) for row in board.elsewhere if row.kind == "hardware"]
    parts = ["## Sampled, noisy and on hardware", words, table(head, lines, align)]
    return [*parts, "\n".join(hardware)] if hardware else parts


def _hardware(row: EngineRow) -> str:
    facts = [f"run {', '.join(row.dates)}"] if row.dates else []
    facts += [f"calibrated {', '.join(row.calibrated)}"] if row.calibrated else []
    facts += [f"mitigation: {', '.join(row.mitigation)}"] if row.mitigation else []
    facts += [f"jobs {', '.join(row.job_ids)}"]
    return f"- {escape(row.model)} on {escape(row.engine)}: {escape('; '.join(facts))}"
