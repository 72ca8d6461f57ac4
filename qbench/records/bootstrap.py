"""A bootstrap over trained seeds and test images at once: how far a mean could be off by chance.

Two trainings of a model differ, and so do two images; a mean over both is uncertain for both
reasons. Seeds and images are resampled independently of each other, and every resample gives
another mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 20_000  # Holm's correction over 999 pairs can still find p < 0.05


def weights(units: int, resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How much each unit (a seed, or an image) counts in each resample.

    Of u units, u − 1 are drawn with replacement: the variance of their mean is then the unbiased
    estimate s²/u of the variance of the mean of u units, where u draws would give
    (u − 1)/u of it, a fifth too little for five seeds. Each resample's deviation from the mean is
    stretched by √((u − 1)/χ²) with u − 1 degrees of freedom, as Student's t is made from the normal
    distribution: s is itself an estimate, and from five seeds a poor one.

    Args:
        units: How many there are; a single one always counts fully.
        resamples: How often to draw.
        generator: Of the draws.

    Returns:
        (resamples, units); each row sums to 1. Stretched weights may be negative.

    Source: P. J. McCarthy and C. B. Snowden, The bootstrap and finite population sampling, Vital
    and Health Statistics 2 (95), 1985, for u − 1 draws; Student, The probable error of a mean,
    Biometrika 6 (1908), for the stretching.
    """
    if units == 1:
        return np.ones((resamples, 1))
    drawn = generator.integers(0, units, (resamples, units - 1), dtype=np.int32)
    drawn += np.arange(resamples, dtype=np.int32)[:, None] * units
    counts = np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units)
    stretch = np.sqrt((units - 1) / generator.chisquare(units - 1, (resamples, 1)))
    found: NDArray[np.float64] = 1 / units + stretch * (counts / (units - 1) - 1 / units)
    return found


def resampled_means(
    shares: NDArray[np.float64],
    of_seeds: NDArray[np.float64],
    of_images: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The mean of a model in every resample of its seeds and of the images.

    What resampled seeds change and what resampled images change is added up. Without stretching its
    variance is s²/S over the means of S seeds plus s²/n over the means of n images. Both contain
    what is left when seeds and images are accounted for, so that is counted twice, and the variance
    errs on the large side; to weigh every image of every seed by the product of both weights would
    count it three times (Owen 2007). The draws of a stochastic model's passes differ from image to
    image: they are part of the spread over images, and count there.

    Args:
        shares: (seeds, images); the share of fresh passes in which an image counts, 0 or 1 for a
            deterministic model.
        of_seeds: (resamples, seeds), see `weights`.
        of_images: (resamples, images), the same for all models that are compared.

    Returns:
        (resamples,).

    Source: A. B. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007).
    """
    by_seed, by_image, mean = shares.mean(axis=1), shares.mean(axis=0), shares.mean()
    found: NDArray[np.float64] = of_seeds @ by_seed + of_images @ by_image - mean
    return found


def margin95(value: float, resampled: NDArray[np.float64]) -> float:
    """Half the width of the symmetric 95 % interval around a value.

    Source: P. Hall, On symmetric bootstrap confidence intervals, Journal of the Royal Statistical
    Society B 50 (1988).
    """
    return float(np.quantile(np.abs(resampled - value), 0.95))


def p_value(value: float, resampled: NDArray[np.float64]) -> float:
    """Two-sided p-value that the truth behind a value is 0.

    Args:
        value: What was observed.
        resampled: (resamples,); the same quantity in every resample. Its deviations from `value`
            stand for those of `value` from the truth.

    Returns:
        Share of deviations at least as large as `value`, the observed one counted among them: never
        0, and at least 1/(resamples + 1).

    Source: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), Eq.
    4.11, for counting the observed one; P. Hall and S. R. Wilson, Two guidelines for bootstrap
    hypothesis testing, Biometrics 47 (1991), for deviations from what was observed.
    """
    # The tolerance makes ties the same on every machine, whatever the order of its sums.
    as_large = np.abs(resampled - value) >= abs(value) - 1e-9
    return (1 + int(as_large.sum())) / (len(resampled) + 1)
