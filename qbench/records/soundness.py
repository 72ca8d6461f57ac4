"""The soundness gate: what is certified may not be broken by anything on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.records.columns import Columns
from qbench.records.record import RadiiMetrics, Record
from qbench.records.results import Results

TOLERANCE = 1e-6  # relative; distances are on record in float32


@dataclass(frozen=True)
class Violation:
    """An image that is certified within a radius and misclassified at a smaller distance."""

    certificate: Record
    attack: Record
    image: int
    radius: float
    distance: float

    def __str__(self) -> str:
        about = self.certificate.task
        name = about.certifier.name if about.kind == "radii" and about.certifier else "?"
        norm = about.norm if about.kind == "radii" else "?"
        return (
            f"{about.model.name} seed {about.model.seed}: {name} certifies image {self.image} "
            f"within {self.radius:.6g} in {norm}, and {self.attack.label} breaks it at "
            f"{self.distance:.6g}"
        )


def check(results: Results) -> tuple[list[Violation], int]:
    """Hold every certificate against every attack on the same weights, also images sent by others.

    Certificates of smoothed models are about other models, and proofs say nothing of scores that
    are sampled or noisy: neither is held against attacks. Certificates from counts hold with a
    stated confidence, and of an engine's expectations, which no draw shows. Nor are attacks held
    whose box is not the protocol's: a board has one.

    Returns:
        The violations, and how many pairs of a radius and an adversarial image were compared.
    """
    attacks: defaultdict[str | None, list[Record]] = defaultdict(list)
    certificates: defaultdict[str | None, list[Record]] = defaultdict(list)
    by_id = {record.id: record for record in results.records}
    for record in results.records:
        attacked = record.task.kind in ("attack", "transfer", "challenge")
        if record.status == "done" and attacked and record.exact:
            attacks[record.weights].append(record)
        proof = isinstance(record.metrics, RadiiMetrics) and not record.metrics.smoothed
        if proof and record.exact:
            certificates[record.weights].append(record)
    found: list[Violation] = []
    compared = 0
    for weights, certified in certificates.items():
        radii = [(record, results.columns(record)) for record in certified]
        for attack in attacks[weights]:
            outcome, norms = results.columns(attack), distances(results.columns, by_id, attack)
            for record, columns in radii:
                if norms is not None and record.task.data == attack.task.data:
                    compared += len(columns["radius"])
                    found += _violations(record, columns, attack, outcome, norms)
    return found, compared


def distances(
    columns: Callable[[Record], Columns], by_id: Mapping[str, Record], record: Record
) -> Mapping[str, NDArray[np.float64]] | None:
    """‖x′ − x‖ of each image by norm; of transferred images, as the attack that made them says.

    Returns:
        None where that attack is not on record.
    """
    maker = by_id.get(record.task.made_by.id) if record.task.kind == "transfer" else record
    if maker is None or maker.outcomes is None:
        return None
    made = columns(maker)
    return {norm: made[norm].astype(np.float64) for norm in ("linf", "l2")}


def without(results: Results, violations: Iterable[Violation]) -> Results:
    """The results without the certificates that were refuted, each in its whole."""
    refuted = {violation.certificate.id for violation in violations}
    kept = tuple(record for record in results.records if record.id not in refuted)
    return replace(results, records=kept)


def _violations(
    certificate: Record,
    radii: Columns,
    attack: Record,
    outcome: Columns,
    norms: Mapping[str, NDArray[Any]],
) -> list[Violation]:
    assert certificate.task.kind == "radii"
    radius, distance, label = radii["radius"], norms[certificate.task.norm], radii["label"]
    broken = (np.atleast_2d(outcome["adversarial_prediction"]) != label).any(axis=0)
    unsound = broken & (radius > 0) & (distance < radius * (1 - TOLERANCE))
    # A certificate is also a claim that the clean image is classified correctly.
    unsound |= (np.atleast_2d(outcome["clean_prediction"]) != label).any(axis=0) & (radius > 0)
    return [
        Violation(certificate, attack, int(i), float(radius[i]), float(distance[i]))
        for i in np.flatnonzero(unsound)
    ]
