from __future__ import annotations

import numpy as np
import pytest

from qbench.records.bootstrap import RESAMPLES, margin95, p_value, resampled_means, weights

N = 200


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def means(shares: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    chance = generator(seed)
    of_seeds, of_images = (weights(units, resamples, chance) for units in shares.shape)
    return resampled_means(shares, of_seeds, of_images)


def two_way(seeds: int, of_seeds: float, of_images: float, left: float) -> np.ndarray:
    """Shares that are a sum of a part a seed, a part an image, and what is left."""
    chance = generator(3)
    parts = chance.normal(0, of_seeds, (seeds, 1)), chance.normal(0, of_images, N)
    return np.asarray(0.5 + parts[0] + parts[1] + chance.normal(0, left, (seeds, N)))


def test_weights_are_those_of_one_resample_each() -> None:
    found = weights(5, 1000, generator())
    assert found.shape == (1000, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert weights(1, 3, generator()).tolist() == [[1.0]] * 3


def test_the_variance_is_the_closed_form_of_seeds_and_images() -> None:
    shares = two_way(40, 0.05, 0.2, 0.1)
    # s²/u over the means of seeds and of images, each times that of Student's t, ν / (ν - 2).
    of_seeds = shares.mean(axis=1).var(ddof=1) / 40 * 39 / 37
    of_images = shares.mean(axis=0).var(ddof=1) / N * 199 / 197
    found = means(shares).std()
    assert found == pytest.approx((of_seeds + of_images) ** 0.5, rel=0.02)
    # The truth behind the synthetic shares, which what is left enters once.
    truth = (0.05**2 / 40 + 0.2**2 / N + 0.1**2 / (40 * N)) ** 0.5
    assert found == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("seeds", [3, 5, 12])
def test_of_few_seeds_the_interval_is_students(seeds: int) -> None:
    from scipy.stats import t

    # Images that all fare alike say nothing: what is left is the t-interval of the seeds' means.
    values = generator(5).normal(0.6, 0.05, seeds)
    shares = np.repeat(values[:, None], N, axis=1)
    expected = t.ppf(0.975, seeds - 1) * values.std(ddof=1) / seeds**0.5
    assert margin95(shares.mean(), means(shares)) == pytest.approx(expected, rel=0.15)


def test_one_seed_leaves_the_spread_of_images() -> None:
    shares = (np.arange(N) < 120)[None].astype(float)
    expected = 1.96 * (0.6 * 0.4 / N) ** 0.5
    assert margin95(0.6, means(shares)) == pytest.approx(expected, rel=0.02)


def test_the_spread_of_fresh_passes_is_part_of_the_spread_of_images() -> None:
    # Ten passes, each right with probability 1/2 for every image: p (1 - p) / 10 an image.
    shares = generator(1).binomial(10, 0.5, (1, N)) / 10
    assert means(shares).std() == pytest.approx((0.25 / 10 / N) ** 0.5, rel=0.1)
    # Images that differ as well: Var(p) + mean of p (1 - p) / 10.
    of_images = generator(2).uniform(0, 1, N)
    shares = generator(1).binomial(10, of_images, (1, N)) / 10
    variance = of_images.var() + (of_images * (1 - of_images)).mean() / 10
    assert means(shares).std() == pytest.approx((variance / N) ** 0.5, rel=0.1)


def test_p_counts_what_was_observed() -> None:
    # Deviations from 0.5: 0, 0.5, -0.5 and 0.4; the two of 0.5 are as large as 0.5 itself.
    assert p_value(0.5, np.array([0.5, 1.0, 0.0, 0.9])) == (1 + 2) / 5
    assert p_value(-0.5, np.array([-0.5, 0.0, -1.0, -0.9])) == (1 + 2) / 5
    assert p_value(2.0, np.full(99, 2.0)) == 1 / 100
    assert p_value(0.0, np.zeros(9)) == 1.0


@pytest.mark.parametrize(("seeds", "level"), [(5, 0.05), (3, 0.05), (5, 0.01)])
def test_equal_models_are_rarely_called_different(seeds: int, level: float) -> None:
    # Two models of the same distribution: seeds, difficulties of images, and chance.
    chance, wrong, tries, resamples = generator(11), 0, 300, 1000
    of_images = weights(N, resamples, chance)
    for _ in range(tries):
        difficulty = chance.normal(0, 1, N)
        found = []
        for _ in range(2):
            liking = chance.normal(0, 0.3, (seeds, 1)) + chance.normal(0, 0.7, (seeds, N))
            shares = (difficulty + liking > 0).astype(float)
            of_seeds = weights(seeds, resamples, chance)
            found.append((shares.mean(), resampled_means(shares, of_seeds, of_images)))
        (one, of_one), (other, of_other) = found
        wrong += p_value(one - other, of_one - of_other) < level
    # The level, plus two standard deviations of so few tries.
    assert wrong / tries < level + 2 * (level * (1 - level) / tries) ** 0.5
