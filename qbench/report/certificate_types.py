"""What certifiers prove of a model: Lipschitz bounds, and radii of single images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbench.report.seed_values import SeedValues

# How many times a bound of each scope a difference of two scores may change by.
TO_MARGIN: Mapping[str, float] = {"margin": 1.0, "vector": math.sqrt(2), "score": 2.0}


@dataclass(frozen=True)
class Bound:
    """A certifier's Lipschitz bound of a model, beside the largest Jacobian norm seen; by seed.

    It holds where ‖x‖₂ is at least `least_norm`; `baseline` marks a published bound that others are
    compared with. `on_margins` is the bound on differences of two
    scores that follows from it: only there may bounds of different scope be compared.
    """

    model: str
    certifier: str | None
    scope: str | None
    points: int | None
    bound: SeedValues
    sampled: SeedValues
    on_margins: SeedValues
    least_norm: float = 0.0
    baseline: bool = False

    @property
    def slack(self) -> float | None:
        """The smallest ratio, over seeds, of bound to Jacobian norm; None without both."""
        sampled = dict(self.sampled.by_seed)
        ratios = [bound / sampled[seed] for seed, bound in self.bound.by_seed if sampled[seed]]
        return min(ratios, default=None)

    @property
    def order(self) -> tuple[bool, float, str]:
        """Sorts what was proved from tight to loose, what holds everywhere first."""
        return self.least_norm > 0, self.on_margins.mean or 0.0, self.certifier or ""


@dataclass(frozen=True)
class ByCertifier:
    """What one certifier proves of a model's images; by seed.

    `accuracy` is certified accuracy by budget, `median` the median radius of the images that are
    classified correctly, `best` the share, of the images that any certifier certifies, for which
    none gives a larger radius.
    """

    certifier: str
    accuracy: Mapping[float, SeedValues]
    median: SeedValues
    best: SeedValues


@dataclass(frozen=True)
class ImageRadii:
    """The images, out of `n`, that one trained model classifies correctly.

    For each of them the best certified radius, and the distance of the nearest adversarial image
    on record: infinity without one.
    """

    seed: int
    n: int
    radius: tuple[float, ...]
    distance: tuple[float, ...]


@dataclass(frozen=True)
class Certified:
    """What is proved of one model in one norm, by the best certifier of each image."""

    norm: str
    accuracy: Mapping[float, SeedValues]
    median: SeedValues
    by_certifier: tuple[ByCertifier, ...]
    images: tuple[ImageRadii, ...]

    @property
    def pooled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Radii and distances of every seed's images that are classified correctly."""
        radius = [one for seed in self.images for one in seed.radius]
        distance = [one for seed in self.images for one in seed.distance]
        return np.array(radius), np.array(distance)

    def curves(self, eps: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of all images, means over seeds, at budgets and just above them (k,): those that
        are certified there, and those that nothing on record breaks within."""
        n = sum(seed.n for seed in self.images)
        certified, left = (
            (len(of) - np.searchsorted(np.sort(of), eps, side="right")) / n for of in self.pooled
        )
        return certified, left


@dataclass(frozen=True)
class Probabilistic:
    """Certificates that hold with a confidence below 1, or of a model's smoothed version."""

    certifier: str
    norm: str
    smoothed: bool
    confidence: float
    detail: str | None
    accuracy: Mapping[float, SeedValues]
