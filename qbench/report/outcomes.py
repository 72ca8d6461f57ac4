"""What attacks did image by image: the worst case, and the nearest adversarial image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.soundness import distances
from qbench.records.statistics import worst_case
from qbench.records.worst import correct_and_robust
from qbench.report.questions import Answers, Question, robust
from qbench.report.seed_values import Note, SeedValues, gather_notes
from qbench.report.transfer import Setting

ReadColumns = Callable[[Record], Columns]
Shares = NDArray[np.float64]
NORMS = ("linf", "l2")


class Outcomes:
    """Per-image outcomes of the attacks on every model, read once.

    Args:
        found: Records by question.
        settings: The attacks and budgets to look at.
        columns: Per-image outcomes of a record.
        transferred_eps: The budget at which transferred images are looked at too; None for none.

    Raises:
        StoreError: Per-image outcomes contradict their records.
    """

    def __init__(
        self,
        found: Answers,
        settings: Sequence[Setting],
        columns: ReadColumns,
        transferred_eps: float | None,
    ) -> None:
        self._found = found
        self._settings = settings
        self._columns = columns
        self._transferred_eps = transferred_eps
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

    def score(self, model: str, eps: float, seeds: Sequence[int]) -> SeedValues:
        """Worst-case robust accuracy, and which attacks have no result."""
        asked = {s.attack: self._asked(model, s) for s in self._settings if s.eps == eps}
        without: dict[int, list[str]] = {}
        for seed in seeds:
            for attack, by_seed in sorted(asked.items()):
                if seed not in by_seed or by_seed[seed].status != "done":
                    without.setdefault(seed, []).append(attack)
        notes: tuple[Note, ...] = gather_notes(
            ("incomplete", f"no result of {', '.join(attacks)}", seed)
            for seed, attacks in without.items()
        )
        return SeedValues(_means(self.worst(model, eps)), notes)

    def with_transfer(self, model: str) -> SeedValues:
        """The worst case over images made for other models too; empty if those are not read."""
        if self._transferred_eps is None:
            return SeedValues()
        moved: defaultdict[int, list[Record]] = defaultdict(list)
        for question, by_seed in self._found.items():
            if (question.kind, question.model) == ("transfer", model):
                for seed, record in by_seed.items():
                    if question.eps == self._transferred_eps:
                        moved[seed].append(record)
        lowered = {}
        for seed, own in self.worst(model, self._transferred_eps).items():
            # Nothing is left to break where no image withstood the attacks on the model itself.
            others = self._withstood(moved.get(seed, ())) if own.any() else own
            lowered[seed] = np.minimum(own, others) if len(others) else own
        return SeedValues(_means(lowered)) if moved else SeedValues()

    def _asked(self, model: str, setting: Setting) -> Mapping[int, Record]:
        question = Question("attack", model, attack=setting.attack, eps=setting.eps)
        return self._found.get(question, {})

    def _withstood(self, records: Iterable[Record]) -> Shares:
        done = [record for record in records if record.status == "done"]
        if not done:
            return np.empty(0)
        return worst_case(np.stack([self._robust(record) for record in done]))

    def _robust(self, record: Record) -> Shares:
        """(n,): the share of passes in which an image is correct both clean and attacked."""
        _, shares = correct_and_robust(self._columns(record))
        if abs(float(shares.mean()) - robust(record)) > 1e-6:
            raise StoreError(
                f"the {record.title} has robust accuracy {robust(record):g}, which its "
                f"{len(shares)} per-image outcomes do not give; 'qbench verify' says more"
            )
        return shares


class Distances:
    """The nearest adversarial image on record to each image, read once a trained model.

    Args:
        records: Of exact scores; every attack on a model counts, and images made for others.
        columns: Per-image outcomes of a record.
    """

    def __init__(self, records: Iterable[Record], columns: ReadColumns) -> None:
        self._columns = columns
        self._attacks: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self._by_id: dict[str, Record] = {}
        self._nearest: dict[tuple[str, int], Mapping[str, NDArray[np.float64]]] = {}
        for record in records:
            if record.task.kind in ("attack", "transfer") and record.status == "done":
                self._by_id[record.id] = record
                self._attacks[record.task.model.name, record.task.model.seed].append(record)

    def nearest(self, model: str, seed: int, norm: str, images: int) -> NDArray[np.float64]:
        """(images,): the smallest distance in a norm at which an attack changed the label.

        Infinity where no attack on record did.
        """
        if (model, seed) not in self._nearest:
            found = [self._distances(record) for record in self._attacks[model, seed]]
            none = np.full(images, np.inf)
            self._nearest[model, seed] = {
                name: np.minimum.reduce([none, *(of[name] for of in found if name in of)])
                for name in NORMS
            }
        return self._nearest[model, seed][norm]

    def _distances(self, record: Record) -> dict[str, NDArray[np.float64]]:
        columns = self._columns(record)
        # A stochastic model has a row a fresh pass: one that is wrong suffices.
        wrong = np.atleast_2d(columns["adversarial_prediction"]) != columns["label"]
        broken = wrong.any(axis=0)
        moved = distances(self._columns, self._by_id, record) or {}
        return {norm: np.where(broken, moved[norm], np.inf) for norm in moved}


def _means(by_seed: Mapping[int, Shares]) -> tuple[tuple[int, float], ...]:
    return tuple((seed, float(shares.mean())) for seed, shares in sorted(by_seed.items()))
