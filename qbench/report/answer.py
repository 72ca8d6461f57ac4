"""Whether quantum classifiers are the more robust ones, in one sentence made from the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from qbench.records.statistics import holm
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

    `training` is None where it does not matter. `test` compares the best two, and `p` belongs to
    the statement that the better of them is more robust than every model of the other family; None
    where a family has no model.
    """

    training: str | None
    quantum: tuple[Row, ...]
    classical: tuple[Row, ...]
    test: Comparison | None = None
    p: float | None = None

    @property
    def ahead(self) -> str | None:
        """The family of the better of the best two."""
        if self.test is None:
            return None
        return "quantum" if self.test.first == self.quantum[0].model.name else "classical"

    @property
    def winner(self) -> str | None:
        """The family that has a model significantly more robust than all of the other's."""
        return self.ahead if self.p is not None and self.p < LEVEL else None


def matches(board: Board) -> tuple[Match, ...]:
    """All models, then those of each kind of training that any model has.

    That one model is more robust than each of several is as sure as the least sure of these
    comparisons (Berger 1982, intersection-union tests), however many they are. Which model that is
    was seen in the same results, so p is multiplied by how many models of its family it might have
    been (Bonferroni), and corrected for all that is returned (Holm). Models that join the board
    therefore count only where they might have been the answer.
    """
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
        best = Match(training, quantum, classical, tests.get(_names(quantum[:1], classical[:1])))
        if best.test is None:  # a family has no model, or a model no outcomes
            return best
        own, others = (quantum, classical) if best.ahead == "quantum" else (classical, quantum)
        pairs = [_names(own[:1], [other]) for other in others]
        least_sure = max(tests[pair].p if pair in tests else 1.0 for pair in pairs)
        return replace(best, p=min(1.0, len(own) * least_sure))

    found = [one for one in map(match, (None, *TRAININGS)) if one.quantum or one.classical]
    corrected = iter(holm([one.p for one in found if one.p is not None]))
    return tuple(one if one.p is None else replace(one, p=next(corrected)) for one in found)


def _names(*rows: Sequence[Row]) -> frozenset[str]:
    return frozenset(row.model.name for some in rows for row in some)


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
        f"{_outcome(found[0], test)}",
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
        every, *by_training = found
        alike = [_CALLED[match.training or ""] for match in by_training if match.winner]
        return "No" if every.winner else f"No, not those {' or '.join(alike)}"
    return "Yes" if winners == {"quantum"} == {found[0].winner} else "It depends on the training"


def _best(rows: Sequence[Row]) -> str:
    return f"{rows[0].worst.mean or 0.0:.3f} ({rows[0].model.name})" if rows else "none"


def _outcome(match: Match, test: Comparison) -> str:
    makes = "does not make" if match.winner is None else "makes"
    other = next(family for family in FAMILIES if family != match.ahead)
    ends = f"{test.low:.3f} to {test.high:.3f}".replace("-", "−")
    return (
        f"a difference of {test.difference:.3f} (95 % interval {ends}), which {makes} the better "
        f"one significantly more robust than every {other} one (corrected {_p(match)})"
    )


def _p(match: Match) -> str:
    shown = p_value(match.p if match.p is not None else 1.0)
    return f"p {shown if shown.startswith('<') else f'= {shown}'}"


def _among(match: Match) -> str:
    """The best of each family that share a kind of training."""
    p = "" if match.p is None else f" ({_p(match)})"
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
    how = "needs no gradients" if first in blind else "follows gradients where there are any"
    said = f"the strongest attack on {counts[first]} of {len(strongest)} models is {first}"
    if not blind:
        return f"{said}, which {how} (no attack without gradients was run on its own)"
    alone = sum(bool(attacks) and attacks <= blind for attacks in strongest)
    return f"{said}, which {how}, and one without gradients is on {alone}"


def _transferred(board: Board) -> str:
    """By how much images made for other models, or sent by others, lower a worst case at most."""
    lowered = [
        (row.own.mean - row.worst.mean, row.model.name)
        for row in board.rows
        if row.rank is not None and row.worst.mean is not None and row.own.mean is not None
    ]
    if not lowered or not (board.transfers or board.challenges):
        return ""
    made = ["made for other models"] if board.transfers else []
    made += ["sent by others"] if board.challenges else []
    most, model = max(lowered)
    if most < 0.0005:
        return f"images {' or '.join(made)} lower no robust accuracy further"
    return (
        f"images {' or '.join(made)} lower robust accuracy by {most:.3f} at most "
        f"({model}), which is counted"
    )
