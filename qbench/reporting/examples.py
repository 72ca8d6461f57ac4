"""One attacked image per model, chosen by a rule and not by eye."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.records import Record
from qbench.reporting.board import Board, Setting
from qbench.reporting.outcomes import Images
from qbench.reporting.select import Question, answers, exact


@dataclass(frozen=True)
class Example:
    """An image (height, width) before and after the attack, and what one model says of it."""

    model: str
    seed: int
    x: NDArray[Any]
    x_adv: NDArray[Any]
    clean_prediction: int
    adversarial_prediction: int


@dataclass(frozen=True)
class Examples:
    """The same image attacked for several models."""

    setting: Setting
    index: int
    label: int
    rows: tuple[Example, ...]


def choose(board: Board, records: Sequence[Record], images: Images, attack: str) -> Examples | None:
    """The example of an attack at the ranking budget, of the smallest seed of each model.

    Of the images kept for every model, the one that fools most models is taken, the first of
    equals: a picture in which nothing happens says nothing. None if no image was kept.
    """
    if board.rank_eps is None:
        return None
    setting = Setting(attack, board.rank_eps)
    kept = _kept(board, records, images, setting)
    common = [set(map(int, columns["example_index"])) for _, columns in kept.values()]
    shared = sorted(set.intersection(*common)) if common else []
    if not shared:
        return None
    candidates = [_examples(kept, setting, index) for index in shared]
    return max(candidates, key=_fooled)


def _kept(
    board: Board, records: Sequence[Record], images: Images, setting: Setting
) -> dict[str, tuple[int, Mapping[str, NDArray[Any]]]]:
    found = answers(record for record in records if exact(record))
    kept = {}
    for model in board.models:
        question = Question("robust-accuracy", model.name, None, setting.attack, setting.eps, None)
        done = {s: r for s, r in found.get(question, {}).items() if r.status == "done"}
        if done:
            seed = min(done)
            columns = images(done[seed])
            if "example_index" in columns:
                kept[model.name] = seed, columns
    return kept


def _examples(
    kept: Mapping[str, tuple[int, Mapping[str, NDArray[Any]]]], setting: Setting, index: int
) -> Examples:
    rows, label = [], 0
    for model, (seed, columns) in kept.items():
        at = int(np.flatnonzero(columns["index"] == index)[0])
        place = int(np.flatnonzero(columns["example_index"] == index)[0])
        label = int(columns["label"][at])
        rows.append(
            Example(
                model=model,
                seed=seed,
                x=_as_image(columns["example_x"][place]),
                x_adv=_as_image(columns["example_x_adv"][place]),
                clean_prediction=_prediction(columns["clean_prediction"], at),
                adversarial_prediction=_prediction(columns["adversarial_prediction"], at),
            )
        )
    return Examples(setting, index, label, tuple(rows))


def _prediction(column: NDArray[Any], at: int) -> int:
    # A stochastic model has a row a fresh pass: the first one is as good as any.
    return int(np.atleast_2d(column)[0, at])


def _fooled(shown: Examples) -> int:
    return sum(row.adversarial_prediction != shown.label for row in shown.rows)


def _as_image(features: NDArray[Any]) -> NDArray[Any]:
    side = math.isqrt(len(features))
    return features.reshape((side, side) if side * side == len(features) else (1, -1))
