"""Numbers about outcomes: intervals, spreads over seeds, the worst of attacks, paired tests."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share, at 95 %.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and n successes.

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
    from scipy.stats import binomtest  # slow to import

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"no interval for {successes} successes of {n}")
    ends = binomtest(round(successes), n).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)


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


def worst_case(robust: NDArray[Scalar]) -> NDArray[Scalar]:
    """How each image fares under the attack that is worst for it.

    Args:
        robust: (attacks, n); whether an image is classified correctly, clean and attacked, or for
            a stochastic model the share of fresh passes in which it is.

    Returns:
        (n,); the smallest value of each image: true where no attack broke it.

    Raises:
        ValueError: `robust` is not two-dimensional or holds no attack.
    """
    if robust.ndim != 2 or robust.shape[0] == 0:
        raise ValueError(f"expected (attacks, n) with at least one attack, got {robust.shape}")
    withstood: NDArray[Any] = np.min(robust, axis=0)
    return withstood


def mcnemar(b: int, c: int) -> float:
    """McNemar's exact test that two models keep equally many of the same images robust.

    Images on which both agree say nothing. Of the others, under equality, each model would keep
    half: the p-value is that of a two-sided binomial test with share 1/2.

    Args:
        b: Images that the first model alone keeps.
        c: Images that the second model alone keeps.

    Returns:
        Probability, under equality, of a split at least as uneven; 1 where there is none.

    Raises:
        ValueError: A count is negative.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated
    proportions or percentages, Psychometrika 12 (1947).
    """
    from scipy.stats import binomtest  # slow to import

    if b < 0 or c < 0:
        raise ValueError(f"no test for {b} and {c} images")
    return float(binomtest(b, b + c).pvalue) if b + c else 1.0


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
