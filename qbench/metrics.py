"""Numbers about outcomes: intervals, spreads over seeds, the worst of several attacks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def wilson_interval(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, at 95 % unless `z` says otherwise.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and n successes.

    Args:
        successes: Images counted, 0 to `n`; a mean over repeats need not be whole.
        n: Images looked at, at least 1.
        z: Quantile of the standard normal distribution, more than 0.

    Returns:
        Lower and upper end, shares in [0, 1]; the observed share lies between them.

    Raises:
        ValueError: `n` is not positive, or `successes` is not between 0 and `n`.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"no interval for {successes} successes of {n}")
    share = successes / n
    scale = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and n successes an end equals the share exactly; rounding must not push it past that.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def mean_std(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator) of one value a seed.

    The seeds that ran are a sample of all that could have, so the spread is estimated, not
    described. One value says nothing about a spread: its deviation is None, not 0.

    Raises:
        ValueError: There is no value.
    """
    # Exact rational arithmetic: the result does not depend on the order of the values.
    numbers = [float(value) for value in values]
    if not numbers:
        raise ValueError("no values to average")
    return statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None


def worst_case(robust: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which images withstand every attack.

    Args:
        robust: (attacks, n); whether an image is classified correctly, clean and attacked.

    Returns:
        (n,); true where no attack broke the image.

    Raises:
        ValueError: `robust` is not two-dimensional or holds no attack.
    """
    if robust.ndim != 2 or robust.shape[0] == 0:
        raise ValueError(f"expected (attacks, n) with at least one attack, got {robust.shape}")
    withstood: NDArray[np.bool_] = np.all(robust, axis=0)
    return withstood
