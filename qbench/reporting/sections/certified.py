"""What is proved of single images, beside what attacks broke."""

from __future__ import annotations

from qbench.reporting.board import Board, Row
from qbench.reporting.claims import Certified, Probabilistic
from qbench.reporting.scores import Score
from qbench.reporting.text import (
    DASH,
    Footnotes,
    bold,
    escape,
    folded,
    interval,
    mean,
    norm,
    spread,
    table,
)

_OPEN = 12  # rows of a table that is not folded


def certified(board: Board, notes: Footnotes) -> list[str]:
    """Intervals at every budget, every certifier, and what holds with some confidence only."""
    if not board.certified_norms and not any(row.probabilistic for row in board.rows):
        return []
    parts = ["## Certified and empirical robustness"]
    if board.certified_norms:
        parts.append(_words(board))
    for name in board.certified_norms:
        parts += [
            f"**Perturbations in {norm(name)}.** {_what(board, name)}",
            _intervals(board, name, notes),
            _by_certifier(board, name, notes),
        ]
    names = {c.certifier for row in board.rows for one in row.certified for c in one.by_certifier}
    names |= {one.certifier for row in board.rows for one in row.probabilistic}
    sources = [(name, source) for name, source in board.subject.certifiers if name in names]
    parts += _probabilistic(board, notes)
    return [*parts, "\n".join(f"- {escape(name)}: {escape(source)}" for name, source in sources)]


def _words(board: Board) -> str:
    worst = "the worst case over its attacks" if board.several else "under the attack"
    attacked = (
        f"So the robust accuracy of a model against every attack that will ever be invented lies "
        f"between its certified accuracy and {worst}, image by image. "
        if board.budgets
        else ""
    )
    return (
        "An image is certified at ε if it is classified correctly and it is proved that no "
        "perturbation of size ε changes that. The proof that reaches farthest counts for each "
        f"image. {attacked}Certified accuracy 0 says that nothing could be proved, not that the "
        "model can be fooled."
    )


def _what(board: Board, name: str) -> str:
    if board.budgets and name == board.norm:
        worst = "worst case" if board.several else escape(board.attacks[0])
        return (
            f"[certified, {worst}] accuracy, means over seeds; where no attack was run at ε, "
            "certified accuracy alone (≥)."
        )
    if board.budgets and board.norm is not None:
        return (
            "Certified accuracy, mean over seeds; attacks were bounded in "
            f"{norm(board.norm)}, so no worst case stands beside it."
        )
    return "Certified accuracy, mean over seeds."


def _intervals(board: Board, name: str, notes: Footnotes) -> str:
    budgets = board.certified_budgets(name)
    attacked = name == board.norm
    rows = []
    for row in board.rows:
        proved = row.proved(name)
        if proved is None:
            continue
        why = {note for score in proved.accuracy.values() for note in score.notes}
        cells = [_interval(row, proved, eps, attacked) for eps in budgets]
        model = notes.mark(escape(row.model.name), sorted(why))
        rows.append([model, mean(row.clean), *cells])
    head = ["Model", "Clean accuracy", *[f"ε = {eps:g}" for eps in budgets]]
    return table(head, rows, ["left", *["right"] * (len(head) - 1)])


def _interval(row: Row, proved: Certified, eps: float, attacked: bool) -> str:
    lower = proved.accuracy[eps]
    if attacked and eps in row.worst_at:
        return interval(lower, row.worst_at[eps], spreads=False)
    return DASH if lower.mean is None else f"≥ {mean(lower)}"


def _by_certifier(board: Board, name: str, notes: Footnotes) -> str:
    budgets = board.certified_budgets(name)
    rows = []
    for row in board.rows:
        proved = row.proved(name)
        if proved is None:
            continue
        several = len(proved.by_certifier) > 1
        for one in proved.by_certifier:
            certifier = notes.mark(escape(one.certifier), one.median.notes)
            cells = [spread(one.accuracy[eps]) for eps in budgets]
            share = spread(one.best, 2) if several else DASH
            rows.append([escape(row.model.name), certifier, *cells, spread(one.median, 4), share])
        if several:
            scores = [spread(proved.accuracy[eps]) for eps in budgets]
            cells = [bold(shown) for shown in (*scores, spread(proved.median, 4))]
            rows.append([escape(row.model.name), "**best for each image**", *cells, DASH])
    head = ["Model", "Certifier", *[f"ε = {eps:g}" for eps in budgets], "Median radius", "Best for"]
    words = (
        "Certified accuracy by certifier; the median radius of the images classified correctly; "
        "and the share of the certified images for which no certifier of the model gives a larger "
        "radius; mean ± std over seeds."
    )
    body = table(head, rows, ["left", "left", *["right"] * (len(head) - 2)])
    if len(rows) <= _OPEN:
        return f"{words}\n\n{body}"
    return folded(f"Every certifier ({norm(name)})", words, body)


def _probabilistic(board: Board, notes: Footnotes) -> list[str]:
    tables: list[str] = []
    count = 0
    for name in sorted({one.norm for row in board.rows for one in row.probabilistic}, reverse=True):
        shown = [(row, one) for row in board.rows for one in row.probabilistic if one.norm == name]
        budgets = list(shown[0][1].accuracy)
        head = ["Model", "Certifier", "Certified", "Confidence"]
        head += [f"ε = {eps:g}" for eps in budgets]
        rows = [_probable(row, one, budgets, notes) for row, one in shown]
        align = ["left", "left", "left", "right", *["right"] * len(budgets)]
        tables += [f"Perturbations in {norm(name)}:", table(head, rows, align)]
        count += len(rows)
    if not tables:
        return []
    words = (
        "**Probabilistic certificates** hold for each image with the confidence stated only. Those "
        "of a smoothed model are about another classifier: the class that the model gives to "
        "most noisy copies of the image. They enter neither the intervals nor the pictures."
    )
    return [words, *(tables if count <= _OPEN else [folded("Probabilistic certificates", *tables)])]


def _probable(row: Row, one: Probabilistic, budgets: list[float], notes: Footnotes) -> list[str]:
    scores = [one.accuracy.get(eps, Score()) for eps in budgets]
    certifier = notes.mark(escape(one.certifier), scores[0].notes if scores else ())
    what = "the smoothed model" if one.smoothed else "the model"
    what += f" ({escape(one.detail)})" if one.detail else ""
    confidence = f"{one.confidence:g}" if one.confidence else DASH
    return [escape(row.model.name), certifier, what, confidence, *[spread(s) for s in scores]]
