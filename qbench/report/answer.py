"""Whether quantum classifiers are the more robust ones, in one sentence made from the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from qbench.report.board import Board, ModelFacts, Row
from qbench.report.significance import LEVEL, Comparison
from qbench.report.text import escape, p_value

FAMILIES = ("quantum", "classical")
TRAININGS = ("plain", "adversarial", "regularised")
_CALLED = {
    "plain": "trained plainly",
    "adversarial": "trained on attacked images",
    "regularised": "trained with a regulariser",
}


def training_of(model: ModelFacts) -> str | None:
    """How a model was trained, one of `TRAININGS`; None where its card is not known.

    Whatever is trained on attacked images is `adversarial`, with a regulariser or without one.
    """
    if model.card is None:
        return None
    if model.adversarially_trained:
        return "adversarial"
    recipe = model.card.recipe
    return "regularised" if recipe.regularisation or recipe.gradient_penalty else "plain"


@dataclass(frozen=True)
class Match:
    """The ranked models of the two families that share a kind of training, best first.

    `training` is None where it does not matter; `test` compares the best two, None where a family
    has no model.
    """

    training: str | None
    quantum: tuple[Row, ...]
    classical: tuple[Row, ...]
    test: Comparison | None

    @property
    def winner(self) -> str | None:
        """The family whose best model is significantly more robust than the other's."""
        if self.test is None or self.test.p_holm >= LEVEL:
            return None
        return "quantum" if self.test.first == self.quantum[0].model.name else "classical"


def matches(board: Board) -> tuple[Match, ...]:
    """All models, then those of each kind of training that any model has."""
    tests = {frozenset((one.first, one.second)): one for one in board.comparisons}

    def match(training: str | None) -> Match:
        quantum, classical = (
            tuple(
                row
                for row in board.rows
                if row.rank is not None
                and row.model.family == family
                and training in (None, training_of(row.model))
            )
            for family in FAMILIES
        )
        test = None
        if quantum and classical:
            best = frozenset((quantum[0].model.name, classical[0].model.name))
            test = tests.get(best)
        return Match(training, quantum, classical, test)

    found = [match(training) for training in (None, *TRAININGS)]
    return tuple(one for one in found if one.quantum or one.classical)


def answer(board: Board) -> str | None:
    """One sentence of markdown; None unless models of both families are ranked.

    It says no more than the tests of the board: which family's best model is the more robust one,
    over all models and for each kind of training, and which attacks decide it. A family is called
    the more robust one only for what is significant, and never against a significant result.
    """
    parts = [escape(clause, None) for clause in clauses(board)]
    return f"{'; '.join(parts)}." if parts else None


def clauses(board: Board) -> list[str]:
    """The parts of the answer in plain characters, the verdict first; empty without an answer.

    Names in them may come from outside: they are to be escaped for where they are shown.
    """
    found = matches(board)
    if not found or found[0].test is None:
        return []
    every, *by_training = found
    test = found[0].test
    where = "in the worst case" if board.several else f"under {board.measure}"
    parts = [
        f"{_verdict(found)}: on these {test.images} images and under these "
        f"attacks, the best quantum classifier has a robust accuracy of {_best(every.quantum)} "
        f"{where} at ε = {board.rank_eps:g} and the best classical one {_best(every.classical)}, "
        f"{_outcome(test)}",
        *[_among(match) for match in by_training],
        _strongest(board),
        _transferred(board),
    ]
    return [part for part in parts if part]


def middle(rows: Sequence[Row]) -> float | None:
    """Median of the mean worst cases of models; None without any."""
    means = [row.worst.mean for row in rows if row.worst.mean is not None]
    return median(means) if means else None


def _verdict(found: Sequence[Match]) -> str:
    winners = {match.winner for match in found} - {None}
    if not winners:
        return "It cannot be told"
    if winners == {"classical"}:
        return "No"
    return "Yes" if winners == {"quantum"} == {found[0].winner} else "It depends on the training"


def _best(rows: Sequence[Row]) -> str:
    return f"{rows[0].worst.mean or 0.0:.3f} ({rows[0].model.name})" if rows else "none"


def _outcome(test: Comparison) -> str:
    said = "a significant difference" if test.p_holm < LEVEL else "no significant difference"
    ends = f"{test.low:.3f} to {test.high:.3f}".replace("-", "−")
    return f"{said} ({test.difference:.3f}, 95 % interval {ends}, Holm-corrected {_p(test)})"


def _p(test: Comparison) -> str:
    shown = p_value(test.p_holm)
    return f"p {shown if shown.startswith('<') else f'= {shown}'}"


def _among(match: Match) -> str:
    """The best of each family that share a kind of training."""
    p = "" if match.test is None else f" ({_p(match.test)})"
    called = _CALLED[match.training or ""]
    return f"{called}, {_best(match.quantum)} against {_best(match.classical)}{p}"


def _strongest(board: Board) -> str:
    """The attack that is strongest on most models, and how those without gradients do."""
    strongest = [board.strongest(row) for row in board.rows if row.rank is not None]
    counts = Counter(attack for attacks in strongest for attack in attacks)
    if not board.several or not counts:
        return ""
    first = max(reversed(board.by_strength), key=lambda attack: counts[attack])
    blind = set(board.without_gradients)
    how = "needs no gradients" if first in blind else "uses gradients of the model itself"
    said = f"the strongest attack on {counts[first]} of {len(strongest)} models is {first}"
    if not blind:
        return f"{said}, which {how} (none without any gradient was run by itself)"
    alone = sum(bool(attacks) and attacks <= blind for attacks in strongest)
    return f"{said}, which {how}, and one without gradients is on {alone}"


def _transferred(board: Board) -> str:
    """By how much images made for other models lower a worst case at most."""
    lowered = [
        (row.own.mean - row.worst.mean, row.model.name)
        for row in board.rows
        if row.rank is not None and row.worst.mean is not None and row.own.mean is not None
    ]
    if not lowered or not board.transfers:
        return ""
    most, model = max(lowered)
    if most < 0.0005:
        return "images made for other models lower no robust accuracy further"
    return (
        f"images made for other models lower robust accuracy by {most:.3f} at most "
        f"({model}), which is counted"
    )
