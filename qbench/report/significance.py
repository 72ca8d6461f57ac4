"""Which models are more robust than which others, over their trained seeds and the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from qbench.records.bootstrap import RESAMPLES, margin95, p_value, resampled_means, weights
from qbench.records.statistics import holm, wilson_interval

LEVEL = 0.05
_SEED = 20_240_416  # of all resampling: the same results give the same page
_DIGITS = 6  # of intervals; what a processor rounds differently lies far beyond


@dataclass(frozen=True)
class Comparison:
    """A test of two models, of which `first` has the larger mean robust accuracy.

    `difference` is that of the means over seeds and images, `low` and `high` its 95 % interval;
    `seeds` counts those of the first and of the other model. `p_holm` is corrected for all
    comparisons of the board.
    """

    first: str
    second: str
    images: int
    seeds: tuple[int, int]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


class Resampled:
    """Means of models in many resamples of their seeds and of the images.

    Every model's seeds are resampled by themselves, since trainings of two models have nothing to
    do with each other; the images are resampled for all models together, since they are the same.
    What is drawn for a model does not depend on which others there are.

    Args:
        shares: By model and seed (n,): the share of passes in which an image is robust, 0 or 1 for
            a deterministic model; at least one seed each, and the same images for all.
    """

    def __init__(self, shares: Mapping[str, Mapping[int, NDArray[np.float64]]]) -> None:
        self._shares = {
            name: np.stack([of for _, of in sorted(by_seed.items())]).astype(np.float64)
            for name, by_seed in shares.items()
        }
        self.images = max((of.shape[1] for of in self._shares.values()), default=0)
        if not shares:
            return
        of_images = image_weights(self.images)
        self._means = {
            name: resampled_means(of, seed_weights(name, len(of)), of_images)
            for name, of in self._shares.items()
        }

    def interval95(self, model: str) -> tuple[float, float] | None:
        """95 % interval of a model's mean; None for a model without outcomes.

        Symmetric and cut off at 0 and 1. Wilson's instead for a single seed whose images are robust
        or not, and where all images of all seeds fare alike: there is nothing to resample, and yet
        the next image may fare differently.
        """
        shares = self._shares.get(model)
        if shares is None:
            return None
        mean = float(shares.mean())
        whole = bool(np.isin(shares, (0.0, 1.0)).all())
        if np.ptp(shares) == 0 or (len(shares) == 1 and whole):
            low, high = wilson_interval(mean * self.images, self.images)
        else:
            margin = margin95(mean, self._means[model])
            low, high = max(0.0, mean - margin), min(1.0, mean + margin)
        return round(low, _DIGITS), round(high, _DIGITS)

    def comparisons(self, among: Sequence[str] | None = None) -> tuple[Comparison, ...]:
        """Every pair of models, with Holm's correction over all of them.

        Args:
            among: The models to compare, in order, all with outcomes; None for all that have some.
        """
        names = list(self._shares) if among is None else among
        pairs = [self._pair(one, other) for one, other in combinations(names, 2)]
        corrected = holm([pair.p for pair in pairs])
        return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True))

    def _pair(self, one: str, other: str) -> Comparison:
        first, second = self._shares[one], self._shares[other]
        difference = float(first.mean() - second.mean())
        if difference < 0:
            return self._pair(other, one)
        resampled = self._means[one] - self._means[other]
        margin = margin95(difference, resampled)
        # That all k images on which the two differ speak for one of them is, between equal models,
        # chance in 2 of 2**k cases: of few images a bootstrap makes too much.
        differing = np.abs(first.mean(axis=0) - second.mean(axis=0)) > 1e-9
        least = 2.0 ** (1 - int(differing.sum()))
        p = min(1.0, max(p_value(difference, resampled), least))
        return Comparison(
            first=one,
            second=other,
            images=self.images,
            seeds=(len(first), len(second)),
            difference=round(difference, _DIGITS),
            low=round(max(difference - margin, -1.0), _DIGITS),
            high=round(min(difference + margin, 1.0), _DIGITS),
            p=p,
            p_holm=p,
        )


@lru_cache(maxsize=2)  # drawn for every row of an engine that is not exact, and large
def image_weights(images: int) -> NDArray[np.float64]:
    """How much each image counts in each resample, the same for all models."""
    found = weights(images, RESAMPLES, np.random.default_rng(_SEED))
    found.flags.writeable = False
    return found


def seed_weights(model: str, seeds: int) -> NDArray[np.float64]:
    """How much each seed of a model counts in each resample."""
    return weights(seeds, RESAMPLES, np.random.default_rng([_SEED, crc32(model.encode())]))
