"""The search for radii: to two per cent, budgets exactly, and in few questions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench_certificates.radii import LEAST, PRECISION, largest_radii

EPS = (0.01, 0.02, 0.05, 0.1, 0.2)
N = 2000


class Asked:
    """A certifier that proves what is at most `limit` (n,), and counts its questions."""

    def __init__(self, limit: Tensor) -> None:
        self.limit, self.count = limit, torch.zeros(len(limit))
        self.largest = torch.zeros_like(limit)

    def __call__(self, items: Tensor, radius: Tensor) -> Tensor:
        assert len(items.unique()) == len(items)
        self.count[items] += 1
        self.largest[items] = torch.maximum(self.largest[items], radius)
        return radius <= self.limit[items]


def _limits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    limit = torch.exp(-8 + 7.5 * torch.rand(N, generator=generator, dtype=torch.float64))
    limit[:5] = torch.tensor(EPS)  # just proved
    limit[5:10] = torch.nextafter(limit[:5], torch.zeros(5, dtype=torch.float64))  # just not
    return limit


def _all(value: float) -> Tensor:
    return torch.full((N,), value, dtype=torch.float64)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_radii_are_found_to_two_per_cent_and_budgets_are_exact(seed: int) -> None:
    limit = _limits(seed)
    asked = Asked(limit)
    found = largest_radii(asked, _all(0), _all(torch.inf), EPS)
    assert bool((found <= limit).all())
    least, most = LEAST * EPS[0], EPS[-1]
    inside = (limit >= least) & (limit < most)
    assert bool((limit <= found * (1 + PRECISION))[inside].all())
    assert bool((found[limit < least] == 0).all())
    assert bool((found[limit >= most] == most).all())
    for budget in EPS:
        assert bool(((found >= budget) == (limit >= budget)).all())
    assert bool((asked.largest <= most).all())
    assert float(asked.count.mean()) < 8.5


def test_what_is_known_is_not_asked_again() -> None:
    limit = _limits(0)
    low, high = limit * 0.9, limit * 1.1
    asked = Asked(limit)
    found = largest_radii(asked, low, high, EPS)
    assert bool((found >= low).all() & (found <= limit).all() & (found < high).all())
    assert float(asked.count.mean()) < 5
    # What is proved beyond the budgets stays; and about what has no room nothing is asked.
    assert bool((found[low >= EPS[-1]] == low[low >= EPS[-1]]).all())
    assert bool((largest_radii(asked, _all(0), _all(0), EPS) == 0).all())


@pytest.mark.parametrize(("off", "questions"), [(0.003, 1.5), (0.05, 4.5), (0.7, 9.0)])
def test_guesses_save_questions_and_cannot_prove(off: float, questions: float) -> None:
    limit, generator = _limits(1), torch.Generator().manual_seed(0)
    asked = Asked(limit)

    def guess(items: Tensor) -> Tensor:
        noise = torch.randn(len(items), generator=generator, dtype=torch.float64)
        return limit[items] * torch.exp(off * noise)

    found = largest_radii(asked, _all(0), _all(torch.inf), EPS, guess)
    assert bool((found <= limit).all())
    assert float(asked.count.mean()) < questions
    if off < PRECISION / 4:
        inside = (limit >= LEAST * EPS[0] * 1.02) & (limit < EPS[-1])
        assert bool((limit <= found * (1 + 2 * PRECISION))[inside].all())
        for budget in EPS:
            assert bool(((found >= budget) == (limit >= budget)).all())
