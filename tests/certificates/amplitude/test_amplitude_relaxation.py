"""Shor's relaxation of a quadratic function over a box: against brute force and cvxpy."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbench_certificates.amplitude.relaxation import box_minimum


def draw(seed: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return raw + raw.T


def ample(matrix: torch.Tensor) -> torch.Tensor:
    """Multipliers that are always feasible."""
    return torch.full_like(matrix[0, 1:], float(matrix.abs().sum()))


@given(seed=st.integers(0, 10_000), size=st.integers(2, 7))
def test_it_is_below_every_point_of_the_box(seed: int, size: int) -> None:
    matrix = draw(seed, size)
    bound = box_minimum(matrix, ample(matrix))
    corners = list(itertools.product([-1.0, -0.5, 0.0, 0.5, 1.0], repeat=size - 1))
    v = torch.cat([torch.ones(len(corners), 1), torch.tensor(corners)], 1).double()
    smallest = float(((v @ matrix) * v).sum(1).min())
    assert bound <= smallest
    assert bound > -1.01 * float(matrix.abs().sum())


def test_it_is_exact_where_the_function_is_convex_or_of_one_variable() -> None:
    # (d − 2)² over |d| ≤ 1; then (d − ½)² − 1, with its minimum inside
    for matrix, value in (([[4.0, -2.0], [-2.0, 1.0]], 1.0), ([[-0.75, -0.5], [-0.5, 1.0]], -1.0)):
        one = torch.tensor(matrix, dtype=torch.float64)
        assert box_minimum(one, ample(one)) == pytest.approx(value, abs=3e-3)
    concave = torch.tensor([[0.0, 0.3], [0.3, -1.0]], dtype=torch.float64)
    assert box_minimum(concave, ample(concave)) == pytest.approx(-1.6, rel=2e-3)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_value_of_the_semidefinite_program(seed: int) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    size = 8 + seed
    matrix = draw(seed, size)
    x = cvxpy.Variable((size, size), PSD=True)
    limits = [x[0, 0] == 1, cvxpy.diag(x)[1:] <= 1]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(matrix.numpy() @ x)), limits)
    value = problem.solve(solver=cvxpy.CLARABEL)
    bound = box_minimum(matrix, ample(matrix), tolerance=1e-7)
    assert bound == pytest.approx(value, rel=1e-5)
    assert bound <= value + 1e-6 * abs(value)
    # A threshold stops it on either side, with the right answer.
    assert box_minimum(matrix, ample(matrix), above=value - 0.1) > value - 0.1
    assert box_minimum(matrix, ample(matrix), above=value + 0.1) <= value


def test_a_start_that_is_not_feasible_proves_nothing() -> None:
    matrix = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    assert box_minimum(matrix, torch.tensor([0.5], dtype=torch.float64)) == -torch.inf
    assert box_minimum(matrix, torch.tensor([1.5], dtype=torch.float64)) <= 0
