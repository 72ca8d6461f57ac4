"""The worst adversarial images of a model: of all that broke an image, the one that did it most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.results import Adversarial

RANKING_EPS = 0.1  # where a board is ranked, if it was measured there
_KEPT = 200 * 256  # pixels of the images kept of a trained model: those of all glyphs


def ranking_eps(budgets: Iterable[float], preferred: float = RANKING_EPS) -> float | None:
    """The preferred budget if measured, else the middle one (lower of two); None without any."""
    ordered = sorted(set(budgets))
    if preferred in ordered or not ordered:
        return preferred if ordered else None
    return ordered[(len(ordered) - 1) // 2]


def most_kept(features: int) -> int:
    """How many broken images of so many features are kept of a trained model, at least one."""
    return max(1, _KEPT // features)


def judged_by_the_other_half(
    strength: NDArray[np.float64], withstood: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,): the share in which each image withstands the attack that is worst for it.

    The smallest of several sampled shares would count luck as an attack's strength. So the attack
    is chosen by one half of the draws and judged by the other, both ways round.

    Args:
        strength: (attacks, 2, n): in either half, what is smaller the stronger an attack is.
        withstood: (attacks, 2, n): the shares in either half.
    """
    images = np.arange(strength.shape[2])
    there = withstood[strength[:, 0].argmin(axis=0), 1, images]
    back = withstood[strength[:, 1].argmin(axis=0), 0, images]
    return np.asarray((there + back) / 2, np.float64)


def correct_passes(columns: Columns) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two (passes, n): whether an image is classified correctly clean, and both clean and attacked.

    A stochastic model has a row a fresh pass, a deterministic one a single row.
    """
    label = columns["label"]
    clean = np.atleast_2d(columns["clean_prediction"]) == label
    return clean, clean & (np.atleast_2d(columns["adversarial_prediction"]) == label)


def correct_and_robust(columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two (n,): the shares of passes of `correct_passes`; 0 or 1 for a deterministic model."""
    clean, robust = correct_passes(columns)
    return clean.mean(axis=0), robust.mean(axis=0)


def broken(columns: Columns) -> NDArray[np.bool_]:
    """(n,): images that most passes get right clean, and not both clean and attacked."""
    clean, robust = correct_and_robust(columns)
    return np.asarray((clean > 0.5) & (robust <= 0.5))


def least_margins(
    records: Iterable[Record], columns: Callable[[Record], Columns]
) -> NDArray[np.float64] | None:
    """(n,): the smallest margin that each image is broken with, ∞ where it is not broken; None
    without records. Of a stochastic model a margin is the mean over passes."""
    found = [broken_margins(columns(record)) for record in records]
    return np.minimum.reduce(found) if found else None


def broken_margins(columns: Columns) -> NDArray[np.float64]:
    """(n,): the margin that each image is broken with, ∞ where it is not broken."""
    margins = np.atleast_2d(columns["adversarial_margin"]).astype(np.float64).mean(axis=0)
    return np.where(broken(columns), margins, np.inf)


def broken_alone(columns: Columns, others: Iterable[Columns]) -> NDArray[np.bool_]:
    """(n,): images that are broken here and by none of the others."""
    found = broken(columns)
    for other in others:
        found = found & ~broken(other)
    return found


def at_ranking_budget(records: Mapping[str, Record], model: str, seed: int) -> list[Record]:
    """The attacks on a trained model, transfers to it, and images sent by others that count at the
    ranking budget."""
    on_model = [
        record
        for record in records.values()
        if record.task.kind in ("attack", "transfer", "challenge")
        and (record.task.model.name, record.task.model.seed) == (model, seed)
        and record.status == "done"
        and record.exact
    ]
    eps = ranking_eps(record.task.eps for record in on_model if record.task.kind == "attack")
    found = [record for record in on_model if getattr(record.task, "eps", None) == eps]
    return sorted(found, key=lambda record: record.id)


def broken_images(
    records: Mapping[str, Record],
    columns: Callable[[Record], Columns],
    model: str,
    seed: int,
) -> NDArray[np.intp]:
    """Places of the images that anything on record breaks at the ranking budget, ascending."""
    found = [broken(columns(record)) for record in at_ranking_budget(records, model, seed)]
    return np.flatnonzero(np.logical_or.reduce(found)) if found else np.empty(0, np.intp)


def worst_images(
    records: Mapping[str, Record],
    columns: Callable[[Record], Columns],
    x_adv: Callable[[Record], NDArray[Any] | None],
    model: str,
    seed: int,
) -> Adversarial | None:
    """The images that broke a model at the ranking budget, of all on record that attacked it.

    Args:
        records: By identity.
        columns: Per-image outcomes of a record.
        x_adv: Adversarial images (n, features) that an attack made or somebody sent; None where
            not kept.
        model, seed: The trained model.

    Returns:
        Of each of the first broken images, as many as `most_kept` says, the one with the smallest
        margin; None where nothing was kept.
    """
    margin: NDArray[np.float64] | None = None
    found: NDArray[Any] | None = None
    for record in at_ranking_budget(records, model, seed):
        task = record.task
        maker = records.get(task.made_by.id) if task.kind == "transfer" else record
        images = None if maker is None else x_adv(maker)
        if images is None:
            continue
        ours = broken_margins(columns(record))
        if margin is None or found is None:
            margin, found = np.full(len(ours), np.inf), np.zeros_like(images)
        lower = ours < margin
        margin[lower], found[lower] = ours[lower], images[lower]
    if margin is None or found is None:
        return None
    image = np.flatnonzero(np.isfinite(margin))[: most_kept(found.shape[1])]
    return Adversarial(image.astype(np.int16), found[image].astype(np.float32))
