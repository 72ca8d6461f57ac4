from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from qbench.records.statistics import holm, mean_std, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [
        # Wilson's centre (p + z²/2n)/(1 + z²/n) and half-width, worked out by hand.
        (196, 200, (0.949713, 0.992196)),
        # With no success the upper end is z²/(n + z²), with n the lower one is n/(n + z²).
        (0, 200, (0.0, 3.841459 / 203.841459)),
        (200, 200, (200 / 203.841459, 1.0)),
        # A fair coin of four: symmetric around one half, half-width z/(2·sqrt(n + z²)).
        (2, 4, (0.5 - 1.959964 / 2 / 7.841459**0.5, 0.5 + 1.959964 / 2 / 7.841459**0.5)),
    ],
)
def test_wilson_interval(successes: int, n: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(successes, n) == pytest.approx(expected, abs=1e-6)


def test_wilson_interval_is_that_of_scipy() -> None:
    for n in (1, 2, 7, 200, 1000):
        for k in {0, 1, n // 3, n - 1, n}:
            ends = binomtest(k, n).proportion_ci(method="wilson")
            assert wilson_interval(k, n) == pytest.approx((ends.low, ends.high), abs=1e-12)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_solves_its_equation(counts: tuple[int, int]) -> None:
    successes, n = counts
    share, z = successes / n, 1.959963984540054
    lower, upper = wilson_interval(successes, n)
    assert 0 <= lower <= share <= upper <= 1
    # Its ends are the p whose own standard error puts the observed share z away.
    for end in (lower, upper):
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    # Exchanging success and failure mirrors the interval.
    assert wilson_interval(n - successes, n) == pytest.approx((1 - upper, 1 - lower), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_of_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
        wilson_interval(successes, n)


def test_mean_std_is_of_a_sample() -> None:
    # Squared deviations 4 + 0 + 4 over n - 1 = 2.
    assert mean_std([1, 3, 5]) == (3.0, 2.0)


def test_one_value_has_no_spread() -> None:
    assert mean_std([0.3]) == (0.3, None)


def test_no_value_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_std([])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.randoms())
def test_mean_std_does_not_depend_on_order(values: list[float], chance: random.Random) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)
    assert mean_std(shuffled) == mean_std(values)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1; then never smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # 0.6 * 2 is no probability; the last one may not fall below it.
    assert holm([0.7, 0.001, 0.6]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, len(p_values) * max(p_values))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)
