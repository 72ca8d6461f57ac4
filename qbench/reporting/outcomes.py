"""What happened to each image: the worst case over attacks, and what transferred images add."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.metrics import worst_case
from qbench.records import Record
from qbench.reporting.board import Setting
from qbench.reporting.scores import Note, Score
from qbench.reporting.select import ATTACKED, Answers, Question, exact, gather_notes
from qbench.reporting.values import accuracy

Images = Callable[[Record], Mapping[str, NDArray[Any]]]
Shares = NDArray[np.float64]


class Outcomes:
    """Per-image outcomes of the attacks on every model, read once.

    Args:
        found: Records by question.
        settings: The attacks and budgets to look at.
        images: Per-image outcomes of a record.
        transferred_eps: The budget at which transferred images are looked at too; None for none.

    Raises:
        StoreError: Side files contradict their records, or are not about the same images.
    """

    def __init__(
        self,
        found: Answers,
        settings: Sequence[Setting],
        images: Images,
        transferred_eps: float | None,
    ) -> None:
        self._found = found
        self._settings = settings
        self._images = images
        self._transferred_eps = transferred_eps
        self._indices: NDArray[Any] | None = None
        self._worst: dict[tuple[str, float], dict[int, Shares]] = {}

    def worst(self, model: str, eps: float) -> Mapping[int, Shares]:
        """By seed (n,): the share of passes, 0 or 1 for a deterministic model, in which the attack
        that is worst for an image leaves it correct."""
        if (model, eps) not in self._worst:
            asked = [self._asked(model, s) for s in self._settings if s.eps == eps]
            seeds = sorted({seed for by_seed in asked for seed in by_seed})
            ran = {seed: [by_seed[seed] for by_seed in asked if seed in by_seed] for seed in seeds}
            worst = {seed: self._withstood(records) for seed, records in ran.items()}
            self._worst[model, eps] = {s: shares for s, shares in worst.items() if len(shares)}
        return self._worst[model, eps]

    def score(self, model: str, eps: float, seeds: Sequence[int]) -> Score:
        """Worst-case robust accuracy, and which attacks have no result."""
        asked = {s.attack: self._asked(model, s) for s in self._settings if s.eps == eps}
        missing = [
            (seed, attack)
            for seed in seeds
            for attack, by_seed in sorted(asked.items())
            if seed not in by_seed or by_seed[seed].status != "done"
        ]
        without: dict[int, list[str]] = {}
        for seed, attack in missing:
            without.setdefault(seed, []).append(attack)
        notes: tuple[Note, ...] = gather_notes(
            ("incomplete", f"no result of {', '.join(attacks)}", seed)
            for seed, attacks in without.items()
        )
        return Score(_means(self.worst(model, eps)), notes)

    def with_transfer(self, model: str) -> Score:
        """The worst case over images made for other models too; empty if those are not read."""
        if self._transferred_eps is None:
            return Score()
        moved: dict[int, list[Record]] = {}
        for question, by_seed in self._found.items():
            if (question.task, question.target) == ("transfer-accuracy", model):
                for seed, record in (
                    by_seed.items() if question.eps == self._transferred_eps else ()
                ):
                    moved.setdefault(seed, []).append(record)
        lowered = {}
        for seed, own in self.worst(model, self._transferred_eps).items():
            # Nothing is left to break where no image withstood the attacks on the model itself.
            others = self._withstood(moved.get(seed, ())) if own.any() else own
            lowered[seed] = np.minimum(own, others) if len(others) else own
        return Score(_means(lowered)) if moved else Score()

    def _asked(self, model: str, setting: Setting) -> Mapping[int, Record]:
        question = Question("robust-accuracy", model, None, setting.attack, setting.eps, None)
        return self._found.get(question, {})

    def _withstood(self, records: Iterable[Record]) -> Shares:
        done = [record for record in records if record.status == "done"]
        if not done:
            return np.empty(0)
        return worst_case(np.stack([self._robust(record) for record in done]))

    def _robust(self, record: Record) -> Shares:
        """(n,), in the order of image indices: correct both clean and attacked."""
        columns = self._images(record)
        try:
            order = np.argsort(columns["index"], kind="stable")
            indices, label = columns["index"][order], columns["label"][order]
            # A stochastic model has a row a fresh pass, a deterministic one no such axis.
            clean = np.atleast_2d(columns["clean_prediction"])[:, order] == label
            adversarial = np.atleast_2d(columns["adversarial_prediction"])[:, order] == label
            shares: Shares = (clean & adversarial).mean(axis=0)
        except (KeyError, IndexError) as error:
            raise StoreError(f"per-image outcomes of record {record.key}: {error!r}") from error
        claimed = accuracy(record).robust_accuracy
        if len(shares) == 0 or abs(float(shares.mean()) - claimed) > 1e-6:
            raise StoreError(
                f"record {record.key} says robust accuracy {claimed:g}, which its "
                f"{len(shares)} per-image outcomes do not give; delete it and run again"
            )
        if self._indices is None:
            self._indices = indices
        if not np.array_equal(self._indices, indices):
            raise StoreError("attacks were not made on the same images: keep one run per folder")
        return shares


class Distances:
    """The nearest adversarial image on record to each image, read once a trained model.

    Args:
        found: Records by question; every attack on a model counts, and images made for others, as
            long as the model's scores were exact.
        images: Per-image outcomes of a record.
    """

    def __init__(self, found: Answers, images: Images) -> None:
        self._images = images
        self._attacks: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self._nearest: dict[tuple[str, int], Mapping[str, NDArray[np.float64]]] = {}
        for question, by_seed in found.items():
            for seed, record in by_seed.items():
                if question.task in ATTACKED and record.status == "done" and exact(record):
                    self._attacks[question.target, seed].append(record)

    def nearest(self, model: str, seed: int, norm: str, index: NDArray[Any]) -> NDArray[np.float64]:
        """(n,): the smallest distance in a norm at which an attack changed the label.

        Args:
            model, seed: The trained model.
            norm: `"linf"` or `"l2"`.
            index: (n,) indices of the images, ascending.

        Returns:
            Infinity where no attack on record did.

        Raises:
            StoreError: The attacks were made on other images, or side files lack a column.
        """
        if (model, seed) not in self._nearest:
            found = [self._distances(record, index) for record in self._attacks[model, seed]]
            none = np.full(len(index), np.inf)
            self._nearest[model, seed] = {
                name: np.minimum.reduce([none, *(of[name] for of in found)])
                for name in ("linf", "l2")
            }
        return self._nearest[model, seed][norm]

    def _distances(self, record: Record, index: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        columns = self._images(record)
        try:
            order = np.argsort(columns["index"], kind="stable")
            if not np.array_equal(columns["index"][order], index):
                raise StoreError(
                    f"certificates of {record.target.model} were not made on the images that were "
                    "attacked: keep one run per folder"
                )
            # A stochastic model has a row a fresh pass: one that is wrong suffices.
            wrong = np.atleast_2d(columns["adversarial_prediction"]) != columns["label"]
            broken = wrong.any(axis=0)
            return {
                norm: np.where(broken, columns[norm].astype(np.float64), np.inf)[order]
                for norm in ("linf", "l2")
            }
        except (KeyError, IndexError) as error:
            raise StoreError(f"per-image outcomes of record {record.key}: {error!r}") from error


def _means(by_seed: Mapping[int, Shares]) -> tuple[tuple[int, float], ...]:
    return tuple((seed, float(shares.mean())) for seed, shares in sorted(by_seed.items()))
