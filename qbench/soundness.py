"""The soundness gate: what is certified may not be broken by anything on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.errors import SoundnessError
from qbench.records import CertificationMetrics, Record

Columns = Mapping[str, NDArray[Any]]
TOLERANCE = 1e-6  # relative; distances are on record in float32
_ATTACKED = ("robust-accuracy", "transfer-accuracy")


@dataclass(frozen=True)
class Violation:
    """An image that is certified within a radius and misclassified at a smaller distance."""

    model: str
    seed: int
    certifier: str
    norm: str
    image: int
    radius: float
    attack: str
    distance: float

    def __str__(self) -> str:
        return (
            f"{self.model} seed {self.seed}: {self.certifier} certifies image {self.image} within "
            f"{self.radius:.6g} in {self.norm}, and {self.attack} breaks it at {self.distance:.6g}"
        )


def check(records: Sequence[Record], images: Callable[[Record], Columns]) -> int:
    """Hold every certificate against every attack on the same weights.

    Certificates of smoothed models are about other models, and certificates say nothing of scores
    that are sampled or noisy: neither is held against attacks.

    Args:
        records: Records of any kind and status, of one data set.
        images: Per-image outcomes of a record, e.g. `Store.images`.

    Returns:
        How many pairs of a radius and an adversarial image were compared.

    Raises:
        SoundnessError: Naming the first violation and how many there are.
    """
    attacked: defaultdict[str | None, list[Record]] = defaultdict(list)
    for record in records:
        exact = record.engine is None or (record.engine.exact and record.engine.shots is None)
        if record.task in _ATTACKED and record.status == "done" and exact:
            attacked[record.target.weights_sha256].append(record)
    found: list[Violation] = []
    compared = 0
    for weights, certificates in _certificates(records).items():
        radii = [(record, images(record)) for record in certificates]
        for attack in attacked[weights]:
            outcome = images(attack)
            for record, columns in radii:
                if _covers(record, attack):
                    compared += len(columns["radius"])
                    found += _violations(record, columns, attack, outcome)
    if found:
        raise SoundnessError(f"{found[0]} ({len(found)} such): the certificate is wrong")
    return compared


def _certificates(records: Iterable[Record]) -> Mapping[str | None, list[Record]]:
    by_weights: defaultdict[str | None, list[Record]] = defaultdict(list)
    for record in records:
        if isinstance(record.metrics, CertificationMetrics) and not record.metrics.smoothed:
            by_weights[record.target.weights_sha256].append(record)
    return by_weights


def _covers(certificate: Record, attack: Record) -> bool:
    """Whether the attack's images lie in the box that the certificate speaks about."""
    assert certificate.perturbations is not None
    assert attack.threat_model is not None
    if certificate.dataset.sha256 != attack.dataset.sha256:
        return False
    box = certificate.perturbations.box
    return box is None or box == attack.threat_model.box


def _violations(
    certificate: Record, radii: Columns, attack: Record, outcome: Columns
) -> list[Violation]:
    assert certificate.perturbations is not None
    assert certificate.certifier is not None
    assert attack.attack is not None
    norm = certificate.perturbations.norm
    _, ours, theirs = np.intersect1d(radii["index"], outcome["index"], return_indices=True)
    radius, distance = radii["radius"][ours], outcome[norm][theirs].astype(np.float64)
    label = radii["label"][ours]
    broken = outcome["adversarial_prediction"][theirs] != label
    unsound = broken & (radius > 0) & (distance < radius * (1 - TOLERANCE))
    # A certificate is also a claim that the clean image is classified correctly.
    unsound |= (outcome["clean_prediction"][theirs] != label) & (radius > 0)
    return [
        Violation(
            model=certificate.target.model,
            seed=certificate.target.seed,
            certifier=certificate.certifier.name,
            norm=norm,
            image=int(radii["index"][ours[i]]),
            radius=float(radius[i]),
            attack=attack.attack.label,
            distance=float(distance[i]),
        )
        for i in np.flatnonzero(unsound)
    ]
