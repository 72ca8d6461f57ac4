"""The main table, every attack beside every model, and what adversarial training changed."""

from __future__ import annotations

from qbench.reporting.board import Board, Row, Setting
from qbench.reporting.claims import Bound
from qbench.reporting.scores import Score
from qbench.reporting.text import (
    DASH,
    Footnotes,
    at_least,
    badges,
    bold,
    escape,
    folded,
    interval,
    mean,
    p_value,
    spread,
    table,
)


def leaderboard(board: Board, notes: Footnotes) -> list[str]:
    """The ranked table: one attack, or the worst case of several with plain PGD beside it."""
    flagged = any(row.findings for row in board.rows)
    head = ["Rank", "Model", "Family", "Parameters", "Clean accuracy"]
    head += [f"{_ranking(board)}, ε = {eps:g}" for eps in board.budgets if board.several]
    plain = [escape(s.attack) if board.several else _ranking(board) for s in board.plain]
    head += [f"{name}, ε = {s.eps:g}" for name, s in zip(plain, board.plain, strict=True)]
    head += ["Lipschitz bound", "Largest Jacobian"] if board.bounds else []
    head += ["Flags"] if flagged else []
    head += ["Seeds"]
    rows = []
    for row in board.rows:
        line = [
            DASH if row.rank is None else str(row.rank),
            notes.mark(escape(row.model.name), row.notes),
            row.model.family,
            DASH if row.model.parameters is None else str(row.model.parameters),
            notes.mark(spread(row.clean), row.clean.notes),
            *_accuracies(board, row, notes),
        ]
        line += _bound_cells(row, notes) if board.bounds else []
        line += [badges(row.findings, row.seeds)] if flagged else []
        rows.append([*line, str(len(row.seeds))])
    align = ["left" if name in ("Model", "Family", "Flags") else "right" for name in head]
    return ["## Robust accuracy\n\n" + table(head, rows, align)]


def _ranking(board: Board) -> str:
    """What models are ranked by; its interval where there are certificates to bound it below."""
    what = "worst case" if board.several else escape(board.attacks[0])
    if board.certified_budgets(board.norm):
        return f"[certified, {what}]"
    return what[0].upper() + what[1:] if board.several else what


def _accuracies(board: Board, row: Row, notes: Footnotes) -> list[str]:
    ranking = [(row.worst_at[eps], eps) for eps in board.budgets if board.several]
    plain = [(row.robust[setting], setting.eps) for setting in board.plain]
    proved = row.proved(board.norm)
    cells = []
    for scores, ranks in ((ranking, True), (plain, not board.several)):
        for score, eps in scores:
            shown, why = spread(score), score.notes
            if ranks and proved is not None:
                lower = proved.accuracy.get(eps, Score())
                shown, why = interval(lower, score), (*score.notes, *lower.notes)
            cells.append(notes.mark(bold(shown, ranks and eps == board.rank_eps), why))
    return cells


def _bound_cells(row: Row, notes: Footnotes) -> list[str]:
    tightest = row.tightest
    if tightest is None:
        return [DASH, DASH]
    return [
        notes.mark(_bound(tightest), tightest.bound.notes),
        spread(tightest.sampled, 2),
    ]


def _bound(entry: Bound) -> str:
    shown = spread(entry.bound, 2)
    where = [entry.scope] if entry.scope else []
    where += [at_least(entry.least_norm)] if entry.least_norm else []
    return f"{shown} ({', '.join(where)})" if where else shown


def attacks(board: Board, notes: Footnotes) -> list[str]:
    """Every attack beside every model at the ranking budget, the strongest on each in bold."""
    if not board.several or board.rank_eps is None:
        return []
    eps = board.rank_eps
    rows = {row.model.name: row for row in board.rows}
    names = [model.name for model in board.models]
    strongest = {name: board.strongest(rows[name]) for name in names}
    lines = []
    for attack in board.by_strength:
        line = [escape(attack)]
        for name in names:
            score = rows[name].robust.get(Setting(attack, eps), Score())
            shown = bold(mean(score), attack in strongest[name])
            line.append(notes.mark(shown, score.notes))
        lines.append(line)
    lines.append(["worst case", *[mean(rows[name].worst) for name in names]])
    words = (
        f"Robust accuracy under every attack at ε = {eps:g}, mean over seeds, the strongest attack "
        "on each model in bold. Attacks stand in the order of their mean over models, the "
        "strongest last. The worst case is per image and seed, so it can lie below every line."
    )
    head = ["Attack", *map(escape, names)]
    settings = "\n".join(
        f"- {escape(label)}: {escape(params) if params else 'no parameters'}"
        for label, params in board.subject.attacks
    )
    return [
        f"## Every attack at ε = {eps:g}",
        words,
        table(head, lines, ["left", *["right"] * len(names)]),
        folded(f"Parameters of the {len(board.subject.attacks)} attacks", settings),
    ]


def adversarial_training(board: Board) -> list[str]:
    """What training on attacked images changed, pair by pair."""
    if not board.trained_pairs or board.rank_eps is None:
        return []
    head = ["Trained on attacked images", "Instead of", "Clean accuracy"]
    head += [f"{_measure(board)}, ε = {eps:g}" for eps in board.budgets]
    head += ["Gain", "p (Holm)"]
    pairs = {frozenset((c.first, c.second)): c for c in board.comparisons}
    rows = []
    for plain, other in board.trained_pairs:
        line = [escape(other.model.name), escape(plain.model.name)]
        line += [f"{mean(plain.clean)} → {mean(other.clean)}"]
        line += [
            f"{mean(plain.worst_at[eps])} → {mean(other.worst_at[eps])}" for eps in board.budgets
        ]
        before, after = plain.worst.mean, other.worst.mean
        gain = DASH
        if before is not None and after is not None:
            gain = f"{after - before:+.3f}".replace("-", "−")
        test = pairs.get(frozenset((plain.model.name, other.model.name)))
        rows.append([*line, gain, DASH if test is None else p_value(test.p_holm)])
    words = (
        "Models of one structure, trained on clean images and on images attacked during training; "
        f"means over seeds. The gain is at ε = {board.rank_eps:g}; p is that of the paired test "
        "below."
    )
    align = ["left", "left", *["right"] * (len(head) - 2)]
    return ["## Adversarial training", words, table(head, rows, align)]


def _measure(board: Board) -> str:
    return "Worst case" if board.several else escape(board.attacks[0])
