"""What certificates prove of single images: of all certifiers the best, image by image."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qbench.records.record import Record
from qbench.report.certificate_types import ByCertifier, Certified, ImageRadii, Probabilistic
from qbench.report.outcomes import NORMS, Distances, ReadColumns
from qbench.report.questions import Answers, certifier_of, why
from qbench.report.questions import radii as measured
from qbench.report.radii import Radii, best, by_seed, proves
from qbench.report.seed_values import Note, SeedValues, gather_notes


class Certificates:
    """The certificates of single images.

    Certificates that may be wrong, and those of smoothed models, never count as proofs.

    Args:
        found: Records by question.
        columns: Per-image radii of a record.
        norm: The norm of the attacks, None without any: it comes first.
        attacked: The budgets of the attacks, at which certified accuracy is wanted too.
        distances: Of adversarial images; None leaves them out.
    """

    def __init__(
        self,
        found: Answers,
        columns: ReadColumns,
        norm: str | None = None,
        attacked: Iterable[float] = (),
        distances: Distances | None = None,
    ) -> None:
        self._columns = columns
        self._distances = distances
        self._records: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
        budgets = {name: {eps for eps in attacked if eps > 0 and name == norm} for name in NORMS}
        proving: set[str] = set()
        guessing: set[str] = set()
        proved: set[str] = set()
        for question, records in found.items():
            if question.kind != "radii" or question.norm is None:
                continue
            self._records[question.model, question.norm] += records.values()
            for record in records.values():
                if record.status == "done":
                    budgets[question.norm].update(question.budgets)
                    (proving if proves(record) else guessing).add(question.certifier or "")
                    proved.update({question.norm} if proves(record) else ())
        self._only_guessing = guessing - proving
        self._budgets = {name: sorted(of) for name, of in budgets.items()}
        self.norms = tuple(sorted(proved, key=lambda name: (name != norm, NORMS.index(name))))

    def certified(self, model: str, seeds: Sequence[int]) -> tuple[Certified, ...]:
        """What is proved of a model, one entry for each of `norms`.

        Raises:
            StoreError: Per-image radii contradict their records.
        """
        return tuple(self._certified(model, norm, seeds) for norm in self.norms)

    def probabilistic(self, model: str, seeds: Sequence[int]) -> tuple[Probabilistic, ...]:
        """Every other certificate of a model, by norm, then by certifier."""
        return tuple(
            self._probable(name, norm, records, seeds)
            for norm in NORMS
            for name, records in self._by_certifier(model, norm, proofs=False)
        )

    def shows(self, record: Record) -> bool:
        """Whether what is said of a model has a place for why a record is not done."""
        if record.task.kind != "radii":
            return False
        return record.task.norm in self.norms or certifier_of(record) in self._only_guessing

    def _by_certifier(
        self, model: str, norm: str, *, proofs: bool
    ) -> list[tuple[str, list[Record]]]:
        """By name; what is not done counts with what its certifier gives elsewhere."""
        found: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self._records.get((model, norm), ()):
            name = certifier_of(record)
            if name is not None:
                done = record.status == "done"
                if proofs == (proves(record) if done else name not in self._only_guessing):
                    found[name].append(record)
        return sorted(found.items())

    def _certified(self, model: str, norm: str, seeds: Sequence[int]) -> Certified:
        named = self._by_certifier(model, norm, proofs=True)
        radii = {name: by_seed(records, self._columns) for name, records in named}
        found = sorted({seed for of in radii.values() for seed in of})
        all_best = {seed: best([of[seed] for of in radii.values() if seed in of]) for seed in found}
        notes = self._notes(model, norm, radii, seeds)
        return Certified(
            norm=norm,
            accuracy=self._accuracy(norm, all_best, notes),
            median=_median(all_best, notes),
            by_certifier=tuple(
                ByCertifier(
                    certifier=name,
                    accuracy=self._accuracy(norm, radii[name], reasons),
                    median=_median(radii[name], reasons),
                    best=_share_of_best(radii[name], all_best, reasons),
                )
                for name, records in named
                for reasons in [_reasons(records, radii[name], seeds)]
            ),
            images=tuple(self._of_images(model, norm, seed, of) for seed, of in all_best.items()),
        )

    def _probable(
        self, name: str, norm: str, records: Sequence[Record], seeds: Sequence[int]
    ) -> Probabilistic:
        radii = by_seed(records, self._columns)
        done = [measured(record) for record in records if record.status == "done"]
        return Probabilistic(
            certifier=name,
            norm=norm,
            smoothed=any(metrics.smoothed for metrics in done),
            confidence=min((metrics.confidence for metrics in done), default=0.0),
            detail="; ".join(sorted({m.detail for m in done if m.detail})) or None,
            accuracy=self._accuracy(norm, radii, _reasons(records, radii, seeds)),
        )

    def _accuracy(
        self, norm: str, radii: Mapping[int, Radii], notes: tuple[Note, ...]
    ) -> dict[float, SeedValues]:
        return {
            eps: SeedValues(tuple((seed, of.accuracy(eps)) for seed, of in radii.items()), notes)
            for eps in self._budgets[norm]
        }

    def _notes(
        self,
        model: str,
        norm: str,
        radii: Mapping[str, Mapping[int, Radii]],
        seeds: Sequence[int],
    ) -> tuple[Note, ...]:
        """Why seeds have no proof, and which certifiers the others lack.

        One that was skipped does not cover the model: nothing is lacking.
        """
        about = self._records.get((model, norm), [])
        refused = {
            (certifier_of(record), record.task.model.seed)
            for record in about
            if record.status == "skipped"
        }
        found = {seed for of in radii.values() for seed in of}
        guessed = {record.task.model.seed for record in about if record.status == "done"} - found
        notes = [("missing", "only probabilistic certificates", seed) for seed in guessed]
        notes += [
            ("incomplete", f"no radii of {', '.join(lacking)}", seed)
            for seed in found
            if (
                lacking := [
                    name
                    for name, of in radii.items()
                    if seed not in of and (name, seed) not in refused
                ]
            )
        ]
        return (*gather_notes(notes), *_reasons(about, found | guessed, seeds))

    def _of_images(self, model: str, norm: str, seed: int, radii: Radii) -> ImageRadii:
        n = len(radii.radius)
        distance = np.full(n, np.inf)
        if self._distances is not None:
            distance = self._distances.nearest(model, seed, norm, n)
        return ImageRadii(
            seed=seed,
            n=n,
            radius=tuple(map(float, radii.of_correct)),
            distance=tuple(map(float, distance[radii.radius >= 0])),
        )


def _reasons(
    records: Iterable[Record], found: Iterable[int], seeds: Sequence[int]
) -> tuple[Note, ...]:
    """Why the seeds that were not found have no result."""
    without = set(seeds) - set(found)
    notes = [
        why(record)
        for record in records
        if record.status != "done" and record.task.model.seed in without
    ]
    explained = {seed for _, _, seed in notes}
    notes += [("missing", "no record", seed) for seed in without - explained]
    return gather_notes(notes)


def _median(radii: Mapping[int, Radii], notes: tuple[Note, ...]) -> SeedValues:
    """Of the images that are classified correctly; a constant model has no finite radius."""
    medians = {
        seed: float(np.median(of.of_correct)) for seed, of in radii.items() if len(of.of_correct)
    }
    endless = gather_notes(
        ("unbounded", "most images have no finite radius", seed)
        for seed, median in medians.items()
        if math.isinf(median)
    )
    finite = tuple((seed, median) for seed, median in medians.items() if math.isfinite(median))
    return SeedValues(finite, (*notes, *endless))


def _share_of_best(
    radii: Mapping[int, Radii], all_best: Mapping[int, Radii], notes: tuple[Note, ...]
) -> SeedValues:
    shares = []
    for seed, of in radii.items():
        certified = all_best[seed].radius > 0
        if certified.any():
            equal = (of.radius == all_best[seed].radius)[certified]
            shares.append((seed, float(equal.mean())))
    return SeedValues(tuple(shares), notes)
