"""What a claim's quantities are, read from results: by seed and image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset, load_data
from qbench.errors import StoreError
from qbench.evaluation.parallel import Advance
from qbench.protocols import load_protocol
from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.results import Results
from qbench.records.statistics import mean_std
from qbench.records.worst import correct_and_robust
from qbench.report.noisy_engines import split
from qbench.report.outcomes import Outcomes
from qbench.report.questions import Answers, Question, answers, lipschitz, training
from qbench.report.radii import best, by_seed, proves
from qbench.report.transfer import Setting
from qbench_claims.claim import EVERY, Claim, Quantity
from qbench_claims.patterns import PATTERNS, Patterns, Trained

Values = NDArray[np.float64]


class MissingError(Exception):
    """A quantity that the results do not hold; the message says which."""


@dataclass(frozen=True)
class Measured:
    """Values of a quantity.

    Args:
        model: Whose seeds they are: quantities of one model vary together.
        values: (seeds, images); of what has one value a seed, (seeds, 1).
        seeds: Which they are.
    """

    model: str
    values: Values
    seeds: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Over seeds and images."""
        return float(self.values.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the seeds' means; None for a single seed."""
        return mean_std(self.values.mean(axis=1).tolist())[1]


class Evidence:
    """The results of one board, asked for quantities.

    Args:
        results: Records of one protocol, and what belongs to them.
        patterns: Makes and measures perturbations.

    Raises:
        StoreError: The records do not belong together.
    """

    def __init__(self, results: Results, patterns: Patterns) -> None:
        records, _ = split(results.records, results.cards)
        by_id = {record.id: record for record in records}
        self._found: Answers = answers(records)
        self._patterns = patterns
        self._norm = next((r.task.norm for r in records if r.task.kind == "attack"), None)
        self._read = lru_cache(maxsize=None)(lambda key: results.columns(by_id[key]))

    def measure(self, asked: Quantity) -> Measured:
        """A quantity's values, of the seeds that have some.

        Raises:
            MissingError: The results do not hold it.
        """
        if asked.measure in PATTERNS:
            values = self._patterns.measure(asked.measure, self.trained(asked.model))
        else:
            values = _MEASURES[asked.measure](self, asked)
        if not values:
            raise MissingError(f"no {asked}")
        seeds = tuple(sorted(values))
        return Measured(asked.model, np.stack([values[seed] for seed in seeds]), seeds)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of all models on record."""
        return tuple(sorted({seed for by in self._found.values() for seed in by}))

    @property
    def dataset(self) -> Dataset:
        """What was attacked."""
        return self._patterns.dataset

    def _done(self, kind: Any, model: str, **about: Any) -> dict[int, Record]:
        found = self._found.get(Question(kind, model, **about), {})
        return {seed: record for seed, record in found.items() if record.status == "done"}

    def _columns(self, record: Record) -> Columns:
        return self._read(record.id)

    def trained(self, model: str) -> list[Trained]:
        """The seeds of a model, with the weights that were evaluated."""
        done = self._done("training", model)
        return [Trained(model, seed, r.weights) for seed, r in done.items() if r.weights]

    def make_patterns(self, models: Iterable[str], jobs: int, advance: Advance) -> None:
        """Make the perturbations of models in processes side by side, so that they are there when
        they are measured.

        Args:
            models: Their names.
            jobs: Processes.
            advance: Told of every model and seed.
        """
        work = [one for model in models for one in self.trained(model)]
        self._patterns.make(work, jobs, advance)

    def clean(self, asked: Quantity) -> dict[int, Values]:
        """Whether clean images are classified correctly."""
        found: dict[int, Values] = {}
        for question, by in self._found.items():
            if question.kind == "attack" and question.model == asked.model:
                for seed, record in by.items():
                    if record.status == "done" and seed not in found:
                        found[seed] = correct_and_robust(self._columns(record))[0]
        return found

    def robust(self, asked: Quantity) -> dict[int, Values]:
        """Whether images are classified correctly before and under an attack."""
        done = self._done("attack", asked.model, attack=asked.attack, eps=asked.eps)
        return {seed: correct_and_robust(self._columns(r))[1] for seed, r in done.items()}

    def worst(self, asked: Quantity) -> dict[int, Values]:
        """Whether images are classified correctly under everything on record."""
        assert asked.eps is not None
        return dict(self._outcomes.worst(asked.model, asked.eps))

    @cached_property
    def _outcomes(self) -> Outcomes:
        settings = {
            Setting(question.attack, question.eps)
            for question in self._found
            if question.kind == "attack" and question.attack and question.eps is not None
        }
        return Outcomes(self._found, sorted(settings), self._columns)

    def transfer(self, asked: Quantity) -> dict[int, Values]:
        """Whether images made for another model are classified correctly, and clean ones too."""
        return {seed: robust for seed, (_, robust) in self._transferred(asked).items()}

    def transfer_loss(self, asked: Quantity) -> dict[int, Values]:
        """Whether images are right clean and wrong when they were changed for another model."""
        found = self._transferred(asked)
        return {seed: clean - robust for seed, (clean, robust) in found.items()}

    def _transferred(self, asked: Quantity) -> dict[int, tuple[Values, Values]]:
        """Whether an image is right clean, and changed for the source by the attack, or by every
        attack on record; by seed."""
        found: dict[int, tuple[Values, Values]] = {}
        wanted = "transfer", asked.model, asked.source, asked.eps
        for question, by in self._found.items():
            about = question.kind, question.model, question.source, question.eps
            if about != wanted or asked.attack not in (question.attack, EVERY):
                continue
            for seed, record in by.items():
                if record.status == "done":
                    clean, robust = correct_and_robust(self._columns(record))
                    before = found.get(seed, (clean, robust))[1]
                    found[seed] = clean, np.minimum(before, robust)
        return found

    def certified(self, asked: Quantity) -> dict[int, Values]:
        """Whether an image is correct and has a proved radius of at least ε, by any certifier."""
        assert asked.eps is not None
        radii = [
            by_seed([record for record in by.values() if proves(record)], self._columns)
            for question, by in self._found.items()
            if (question.kind, question.model, question.norm) == ("radii", asked.model, self._norm)
        ]
        seeds = {seed for of in radii for seed in of}
        each = {seed: best([of[seed] for of in radii if seed in of]) for seed in seeds}
        return {seed: (of.radius >= asked.eps).astype(float) for seed, of in each.items()}

    def test_accuracy(self, asked: Quantity) -> dict[int, Values]:
        """Accuracy on the test images after an epoch."""
        assert asked.epoch is not None
        done = self._done("training", asked.model)
        curves = {seed: training(record).test_accuracy for seed, record in done.items()}
        at = asked.epoch - 1
        return {s: np.array([curve[at]]) for s, curve in curves.items() if at < len(curve)}

    def lipschitz(self, asked: Quantity) -> dict[int, Values]:
        """A Lipschitz bound."""
        done = self._done("lipschitz", asked.model, certifier=asked.certifier)
        return {seed: np.array([lipschitz(record).bound]) for seed, record in done.items()}


_MEASURES: Mapping[str, Callable[[Evidence, Quantity], dict[int, Values]]] = {
    "clean": Evidence.clean,
    "robust": Evidence.robust,
    "worst": Evidence.worst,
    "transfer": Evidence.transfer,
    "transfer-loss": Evidence.transfer_loss,
    "certified": Evidence.certified,
    "test-accuracy": Evidence.test_accuracy,
    "lipschitz": Evidence.lipschitz,
}


def pictured(claims: Iterable[Claim]) -> list[str]:
    """The models whose perturbations claims compare."""
    sides = (side for claim in claims for case in claim.cases() for side in (case.left, case.right))
    asked = (s.model for s in sides if isinstance(s, Quantity) and s.measure in PATTERNS)
    return list(dict.fromkeys(asked))


def evidence(results: Results) -> Evidence:
    """The evidence of results, with the perturbations of the images that they are about.

    Raises:
        StoreError: The records do not belong together, or nothing was attacked.
        DataError, ProtocolError: Their data or protocol is not the one that is there today.
    """
    task = next((r.task for r in results.records if r.task.kind == "attack"), None)
    if task is None:
        raise StoreError("these results hold no attack")
    protocol, dataset = load_protocol(task.protocol.name), load_data(task.data.name)
    images = protocol.selection.images(dataset, task.data.images)
    return Evidence(results, Patterns(protocol, dataset, images))
