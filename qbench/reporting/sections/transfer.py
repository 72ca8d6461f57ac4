"""Transfer: averages within and across families, what it adds, and the matrices."""

from __future__ import annotations

from qbench.reporting.board import Board, Transfer
from qbench.reporting.text import Footnotes, bold, escape, folded, mean, spread, table

_WORDS = (
    "Accuracy of the target (column) on images perturbed to fool the source (row), mean over "
    "seeds, source and target of the same seed. The diagonal is the attack on the model "
    "itself; it counts every image that is classified correctly after the attack."
)


def in_full(board: Board, notes: Footnotes) -> list[str]:
    """The matrix of the attack that stands for all, at every budget it was transferred at."""
    parts = []
    for matrix in board.transfers:
        if matrix.setting.attack == board.reference or not board.several:
            parts += [_title(matrix), _WORDS, _table(matrix, notes)]
    return parts


def averages(board: Board, notes: Footnotes) -> list[str]:
    """Every attack's averages by families, what transferred images add, the other matrices."""
    if not any(entry.by_seed for t in board.transfers for entry in t.averages.values()):
        return []
    groups = list(board.transfers[0].averages)
    counts = _counts(board)
    groups = [group for group in groups if counts[group]]
    budgets = {transfer.setting.eps for transfer in board.transfers}
    head = ["Attack", *[f"{source} → {target}" for source, target in groups]]
    rows = [
        [
            escape(t.setting.attack) + (f", ε = {t.setting.eps:g}" if len(budgets) > 1 else ""),
            *[notes.mark(spread(t.averages[group]), t.averages[group].notes) for group in groups],
        ]
        for t in board.transfers
    ]
    pairs = ", ".join(f"{counts[group]} {group[0]} → {group[1]}" for group in groups)
    words = (
        "Accuracy of the target on images made for another model, source family → target family: "
        f"mean ± std over seeds of the average over pairs of models ({pairs}). The lower, the "
        "better the attack transfers."
    )
    others = [t for t in board.transfers if t.setting.attack != board.reference]
    parts = ["## Transfer within and across families", words]
    parts += [table(head, rows, ["left", *["right"] * len(groups)]), *_added(board)]
    if board.several:
        parts += [
            folded(
                f"Transfer of {t.setting.attack} at ε = {t.setting.eps:g}: the matrix",
                _table(t, notes),
            )
            for t in others
        ]
    return parts


def _counts(board: Board) -> dict[tuple[str, str], int]:
    sizes: dict[str, int] = {}
    for model in board.models:
        sizes[model.family] = sizes.get(model.family, 0) + 1
    return {
        (source, target): sizes[source] * (sizes[target] - (source == target))
        for source, target in board.transfers[0].averages
    }


def _added(board: Board) -> list[str]:
    """Models of which images made for others break more than the attacks on the model itself."""
    lowered = [
        row
        for row in board.rows
        if row.worst.mean is not None
        and row.with_transfer.mean is not None
        and row.with_transfer.mean < row.worst.mean
    ]
    if not lowered:
        return ["No image that withstood the attacks on its model was broken by a transferred one."]
    what = "worst case" if board.several else "robust accuracy"
    words = (
        "Images made for other models break some that withstood the attacks on the model itself. "
        f"The ranking counts only the latter; with both, the {what} at ε = {board.rank_eps:g} "
        "falls:"
    )
    rows = []
    for row in lowered:
        own, both = row.worst.mean or 0.0, row.with_transfer.mean or 0.0
        rows.append(
            [
                escape(row.model.name),
                spread(row.worst),
                spread(row.with_transfer),
                f"−{own - both:.3f}",
            ]
        )
    head = ["Model", "Attacks on the model", "Transferred images too", "Difference"]
    return [words, table(head, rows, ["left", "right", "right", "right"])]


def _title(matrix: Transfer) -> str:
    return f"## Transfer of {escape(matrix.setting.attack)} at ε = {matrix.setting.eps:g}"


def _table(matrix: Transfer, notes: Footnotes) -> str:
    head = ["made for ↓, shown to →", *map(escape, matrix.models)]
    rows = []
    for source in matrix.models:
        line = [escape(source)]
        for target in matrix.models:
            score = matrix.entries[source, target]
            line.append(notes.mark(bold(mean(score), source == target), score.notes))
        rows.append(line)
    return table(head, rows, ["left", *["right"] * len(matrix.models)])
