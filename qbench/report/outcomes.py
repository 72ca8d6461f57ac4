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
from qbench.records.worst import correct_passes, judged_by_the_other_half
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

    Raises:
        StoreError: Per-image outcomes contradict their records.
    """

    def __init__(
        self,
        found: Answers,
        settings: Sequence[Setting],
        columns: ReadColumns,
    ) -> None:
        self._found = found
        self._settings = settings
        self._columns = columns
        self._worst: dict[tuple[str, float], dict[int, Shares]] = {}

    def worst(self, model: str, eps: float) -> Mapping[int, Shares]:
        """By seed (n,): the share of passes, 0 or 1 for a deterministic model, in which an image is
        correct under what is worst for it: of the attacks on the model, of images made for other
        models, and of images that others sent."""
        if (model, eps) not in self._worst:
            worst = {}
            for seed, own in self._attacks(model, eps).items():
                records = [*own, *self._others(model, seed, eps)]
                worst[seed] = self._withstood(records)
            self._worst[model, eps] = {s: shares for s, shares in worst.items() if len(shares)}
        return self._worst[model, eps]

    def own(self, model: str, eps: float) -> SeedValues:
        """The worst case over the attacks on the model itself."""
        worst = {s: self._withstood(of) for s, of in self._attacks(model, eps).items()}
        return SeedValues(_means({seed: shares for seed, shares in worst.items() if len(shares)}))

    def _attacks(self, model: str, eps: float) -> dict[int, list[Record]]:
        asked = [self._asked(model, s) for s in self._settings if s.eps == eps]
        seeds = sorted({seed for by_seed in asked for seed in by_seed})
        return {seed: [by_seed[seed] for by_seed in asked if seed in by_seed] for seed in seeds}

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

    def _asked(self, model: str, setting: Setting) -> Mapping[int, Record]:
        question = Question("attack", model, attack=setting.attack, eps=setting.eps)
        return self._found.get(question, {})

    def _others(self, model: str, seed: int, eps: float) -> list[Record]:
        """A trained model on images made for other models, or sent by others, at a budget."""
        asked = [
            of
            for q, of in self._found.items()
            if q.kind in ("transfer", "challenge") and (q.model, q.eps) == (model, eps)
        ]
        return [by_seed[seed] for by_seed in asked if seed in by_seed]

    def _withstood(self, records: Iterable[Record]) -> Shares:
        """(n,): the share of passes in which each image withstands what is worst for it, found on
        one half of the passes, or of a device's shots, and judged by the other."""
        done = [record for record in records if record.status == "done"]
        if not done:
            return np.empty(0)
        if len(done) == 1:  # nothing is chosen
            return np.asarray(self._passes(done[0]).mean(axis=0), np.float64)
        counted = [self._columns(record) for record in done]
        if all("adversarial_half_margin" in columns for columns in counted):
            clean, strength = (
                np.stack([columns[f"{which}_half_margin"] for columns in counted])
                for which in ("clean", "adversarial")
            )
            right = (clean > 0) & (strength > 0)
            return judged_by_the_other_half(strength.astype(float), right.astype(float))
        shares = np.stack([self._halves(record) for record in done])
        return judged_by_the_other_half(shares, shares)

    def _halves(self, record: Record) -> Shares:
        """(2, n): shares of each half of the passes; twice the same for a deterministic model."""
        passes = self._passes(record)
        if len(passes) == 1:
            return np.repeat(passes, 2, axis=0)
        return np.stack([passes[0::2].mean(axis=0), passes[1::2].mean(axis=0)])

    def _passes(self, record: Record) -> Shares:
        """(passes, n): whether an image is correct both clean and attacked, 0 or 1."""
        columns = self._columns(record)
        passes = correct_passes(columns)[1].astype(float)
        if abs(float(passes.mean()) - robust(record)) > 1e-6:
            raise StoreError(
                f"the {record.title} has robust accuracy {robust(record):g}, which its "
                f"{passes.shape[1]} per-image outcomes do not give; 'qbench verify' says more"
            )
        if record.task.kind == "challenge":
            # Of an image that was not sent, another pass over its clean version says nothing.
            passes = np.where(columns["linf"] == 0, 1.0, passes)
        return passes


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
            attacked = record.task.kind in ("attack", "transfer", "challenge")
            if attacked and record.status == "done":
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
