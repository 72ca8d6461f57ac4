"""Several boards side by side: does the order of models on the first one hold on the others?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from qbench.records.bootstrap import RESAMPLES, margin95, weights
from qbench.report.answer import matches
from qbench.report.board import Board
from qbench.report.table import Cell, Table, left, number, right, text
from qbench.report.text import mean, norm

_SEED = 20_240_416  # of all resampling: the same results give the same page
_FEWEST = 3  # models that an order is spoken of


@dataclass(frozen=True)
class Agreement:
    """How far another board ranks models in the order of the first one.

    `models` counts those that both rank. `tau` is Kendall's rank correlation of their mean worst
    cases, 1 for the same order and −1 for the opposite one, `low` and `high` its 95 % interval.
    """

    board: str
    models: int
    tau: float
    low: float
    high: float


def agreements(boards: Mapping[str, Board]) -> tuple[Agreement, ...]:
    """The other boards against the first one; none for a board that shares too few models with it.

    The interval says how far the rank correlation could be off because a model was trained with
    these seeds: the seeds of each model are resampled as for the tests of one board. Boards on the
    same data hold the same trainings: they are compared over the seeds that both have, and the same
    ones are drawn for both. Those on other data are drawn apart. The interval is symmetric, and cut
    off at −1 and 1.

    Args:
        boards: By name, the one whose order is asked about first.
    """
    (_, first), *others = boards.items()
    found = (_agreement(name, first, other) for name, other in others)
    return tuple(one for one in found if one is not None)


def _agreement(name: str, first: Board, other: Board) -> Agreement | None:
    ours, theirs = _ranked(first), _ranked(other)
    shared = sorted(ours.keys() & theirs.keys())
    if first.about.data.sha256 == other.about.data.sha256:  # the same trainings, as far as both go
        for model in shared:
            both = ours[model].keys() & theirs[model].keys()
            for of in (ours, theirs):
                of[model] = {seed: of[model][seed] for seed in both}
        shared = [model for model in shared if ours[model]]
    if len(shared) < _FEWEST:
        return None
    means = [np.array([_mean(of[model]) for model in shared]) for of in (ours, theirs)]
    tau = float(kendall(*means))
    if np.isnan(tau):
        return None
    drawn = [
        np.stack([_resampled(of[model], f"{data} {model}") for model in shared], axis=1)
        for of, data in ((ours, first.about.data.sha256), (theirs, other.about.data.sha256))
    ]
    margin = margin95(tau, np.nan_to_num(kendall(*drawn)))
    low, high = max(-1.0, tau - margin), min(1.0, tau + margin)
    return Agreement(name, len(shared), tau, low, high)


def kendall(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's τ-b of x and y (..., models), (...): not a number where all of x or y are equal.

    Source: M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    one, other = np.array(list(combinations(range(x.shape[-1]), 2))).T
    # What differs by less than any image counts for is a tie, however sums were rounded.
    a, b = (np.sign(np.round(of[..., one] - of[..., other], 9)) for of in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(-1) / np.sqrt((a != 0).sum(-1) * (b != 0).sum(-1))
    return np.asarray(found, np.float64)


def _ranked(board: Board) -> dict[str, dict[int, float]]:
    """The worst case of each ranked model, by seed."""
    return {row.model.name: dict(row.worst.by_seed) for row in board.rows if row.rank is not None}


def _mean(by_seed: Mapping[int, float]) -> float:
    return float(np.mean(list(by_seed.values())))


def _resampled(by_seed: Mapping[int, float], about: str) -> NDArray[np.float64]:
    """A model's mean in every resample of its seeds; the draws depend on what it is about."""
    generator = np.random.default_rng([_SEED, crc32(about.encode())])
    values = np.array([by_seed[seed] for seed in sorted(by_seed)])
    drawn: NDArray[np.float64] = weights(len(values), RESAMPLES, generator) @ values
    return drawn


def sentence(boards: Mapping[str, Board]) -> str | None:
    """Whether the order holds, in one sentence of plain characters; None without any to compare."""
    found = agreements(boards)
    if not found:
        return None
    same = [one.board for one in found if one.low > 0]
    verdict = "Yes" if len(same) == len(found) else "In part" if same else "It cannot be told"
    if any(one.high < 0 for one in found):
        verdict = "No" if not same else "It depends on the board"
    parts = [
        f"on {one.board} Kendall's τ is {_signed(one.tau)} (95 % interval {_interval(one)}, "
        f"{one.models} models)"
        for one in found
    ]
    return f"{verdict}: {'; '.join(parts)}."


def overview(boards: Mapping[str, Board]) -> Table:
    """A line a board: what it measures, its best models, and how far its order is the first's."""
    found = {one.board: one for one in agreements(boards)}
    columns = left("Board", "Attacks") + right("Images", "Models", "ε")
    columns += left("Best quantum", "Best classical") + right("τ", "95 % interval")
    rows = [_line(name, board, found.get(name)) for name, board in boards.items()]
    return Table(columns, rows)


def _line(name: str, board: Board, agreement: Agreement | None) -> list[Cell]:
    every = next(iter(matches(board)), None)
    best = [
        f"{rows[0].model.name} {mean(rows[0].worst)}" if rows else None
        for rows in ((every.quantum, every.classical) if every else ((), ()))
    ]
    about = board.about.norm
    budget = None if board.rank_eps is None else f"{board.rank_eps:g} in {norm(str(about))}"
    return [
        text(name),
        text(", ".join(board.attacks)),
        number(board.about.data.images),
        number(len(_ranked(board))),
        text(budget),
        text(best[0]),
        text(best[1]),
        number(agreement.tau if agreement else None, ".2f"),
        text(_interval(agreement) if agreement else None),
    ]


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _interval(one: Agreement) -> str:
    return f"{_signed(one.low)} to {_signed(one.high)}"
