"""Numbers about outcomes: intervals, spreads over seeds, many tests at once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

_Z95 = statistics.NormalDist().inv_cdf(0.975)


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share, at 95 %.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and n successes.
    With the mean of shares of fresh passes for `successes` it covers both images and passes: shares
    between 0 and 1 spread no more than zeros and ones of the same mean.

    Args:
        successes: Images counted, 0 to `n`; a mean over repeats is taken as whole images.
        n: Images looked at, at least 1.

    Returns:
        Lower and upper end, shares in [0, 1]; the observed share lies between them.

    Raises:
        ValueError: `n` is not positive, or `successes` is not between 0 and `n`.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"no interval for {successes} successes of {n}")
    k, square = round(successes), _Z95**2
    middle = (k + square / 2) / (n + square)
    half = _Z95 * math.sqrt(k * (n - k) / n + square / 4) / (n + square)
    return middle - half if k else 0.0, middle + half if k < n else 1.0


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of the p-values of several tests made at once.

    Args:
        p_values: One a hypothesis, in any order.

    Returns:
        Adjusted p-values in the same order, at most 1. Whoever rejects those below α is wrong even
        once with a probability of at most α, however the tests depend on each other.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6 (1979).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
