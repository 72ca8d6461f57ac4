"""One attacked image per model, chosen by a rule and not by eye."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset
from qbench.protocols import Protocol
from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.results import Adversarial, Results
from qbench.records.worst import at_ranking_budget, broken
from qbench.report.board import Board


@dataclass(frozen=True)
class Example:
    """An image (height, width) or a row of a table (features,) before and after the attack.

    The predictions are one model's; `x_adv` and `adversarial_prediction` are None where nothing
    broke this image.
    """

    model: str
    seed: int
    x: NDArray[Any]
    x_adv: NDArray[Any] | None
    clean_prediction: int
    adversarial_prediction: int | None


@dataclass(frozen=True)
class Examples:
    """The same image attacked for several models at a budget ε."""

    eps: float
    index: int
    label: int
    rows: tuple[Example, ...]


@dataclass(frozen=True)
class _Kept:
    seed: int
    records: list[Record]
    adversarial: Adversarial


def choose(
    board: Board, results: Results, dataset: Dataset, protocol: Protocol | None = None
) -> Examples | None:
    """The image that was broken for most models, of the smallest seed of each, the first of equals.

    Args:
        board: Its models are shown in their order.
        results: The kept adversarial images and per-image outcomes.
        dataset: The clean images.
        protocol: Tells which images of the data set were attacked, in which order; None for those
            of the split in stored order.

    Returns:
        None where nothing was broken or kept, or where the images of the data set are not those
        that were attacked.
    """
    records = {record.id: record for record in results.records}
    kept: dict[str, _Kept] = {}
    for model in board.models:
        for seed in board.about.seeds:
            adversarial = results.adversarial(model.name, seed)
            if adversarial is not None:
                at = at_ranking_budget(records, model.name, seed)
                kept[model.name] = _Kept(seed, at, adversarial)
                break
    times = Counter(int(image) for one in kept.values() for image in one.adversarial.image)
    clean = _clean_images(board, dataset, protocol)
    if not times or clean is None:
        return None
    images, labels = clean
    index = min(times, key=lambda image: (-times[image], image))
    eps = next(_eps(one.records[0]) for one in kept.values() if one.records)
    rows = []
    for model in board.models:
        one = kept.get(model.name)
        if one is None or not one.records:
            continue
        columns = [results.columns(record) for record in one.records]
        if any(not np.array_equal(of["label"], labels) for of in columns):
            return None
        rows.append(_example(model.name, one, columns, images, index))
    return Examples(eps, index, int(labels[index]), tuple(rows))


def _clean_images(
    board: Board, dataset: Dataset, protocol: Protocol | None
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The attacked images (n, *input shape) and labels (n,); None where there are too few."""
    n = board.about.data.images
    split = dataset.train if board.about.data.split == "train" else dataset.test
    if protocol is not None and protocol.selection.dataset == dataset.name:
        split = protocol.selection.images(dataset, n)
    if len(split.y) < n:
        return None
    return split.x[:n].numpy().reshape(-1, *dataset.input_shape), split.y[:n].numpy()


def _example(
    model: str, one: _Kept, columns: list[Columns], images: NDArray[Any], index: int
) -> Example:
    x = images[index]
    place = np.flatnonzero(one.adversarial.image == index)
    x_adv = one.adversarial.x_adv[place[0]].reshape(x.shape) if len(place) else None
    return Example(
        model=model,
        seed=one.seed,
        x=x,
        x_adv=x_adv,
        clean_prediction=_prediction(columns[0]["clean_prediction"], index),
        adversarial_prediction=None if x_adv is None else _worst_prediction(columns, index),
    )


def _worst_prediction(columns: list[Columns], index: int) -> int:
    """What the model says of an image where it is broken with the smallest margin."""
    found = [of for of in columns if broken(of)[index]] or columns
    margins = [np.atleast_2d(of["adversarial_margin"])[:, index].mean(dtype=float) for of in found]
    return _prediction(found[int(np.argmin(margins))]["adversarial_prediction"], index)


def _prediction(column: NDArray[Any], index: int) -> int:
    # A stochastic model has a row a fresh pass: the class that most of them give.
    return int(np.bincount(np.atleast_2d(column)[:, index]).argmax())


def _eps(record: Record) -> float:
    assert record.task.kind in ("attack", "transfer", "challenge")
    return float(record.task.eps)
