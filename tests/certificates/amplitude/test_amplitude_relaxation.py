"""Shor's relaxation of a quadratic form over a box: against brute force and cvxpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench_certificates.amplitude.kernel import descend, squared_distances
from qbench_certificates.amplitude.relaxation import (
    homogeneous,
    is_positive,
    proves,
    small_point,
)


def draw(seed: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return raw + raw.T


def above(matrix: Tensor, level: float) -> tuple[Tensor, Tensor, Tensor]:
    """The form, centre and half of vᵀ matrix v − level over v = (1, d), |d_i| ≤ 1."""
    form = matrix.clone()
    form[0, 0] -= level
    centre = torch.zeros(len(matrix), dtype=torch.float64)
    centre[0] = 1
    return form, centre, 1 - centre


def decided(matrix: Tensor, level: float) -> bool:
    """Whether vᵀ matrix v > level is proved."""
    form, centre, half = above(matrix, level)
    return is_positive(form, centre, half, small_point(form, centre, half)[1])


@given(seed=st.integers(0, 10_000), size=st.integers(2, 7))
def test_nothing_is_proved_above_a_point_of_the_box(seed: int, size: int) -> None:
    matrix = draw(seed, size)
    corners = list(itertools.product([-1.0, -0.5, 0.0, 0.5, 1.0], repeat=size - 1))
    v = torch.cat([torch.ones(len(corners), 1), torch.tensor(corners)], 1).double()
    smallest = float(((v @ matrix) * v).sum(1).min())
    for level in (smallest, smallest + 0.1):
        form, centre, half = above(matrix, level)
        assert not is_positive(form, centre, half, centre)
    assert decided(matrix, -1.01 * float(matrix.abs().sum()))


def test_it_is_exact_where_the_function_is_convex_or_of_one_variable() -> None:
    # (d − 2)² over |d| ≤ 1; then (d − ½)² − 1, with its minimum inside; then −d² + 0.6 d
    for matrix, value in (
        ([[4.0, -2.0], [-2.0, 1.0]], 1.0),
        ([[-0.75, -0.5], [-0.5, 1.0]], -1.0),
        ([[0.0, 0.3], [0.3, -1.0]], -1.6),
    ):
        one = torch.tensor(matrix, dtype=torch.float64)
        assert decided(one, value - 1e-3)
        assert not decided(one, value + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_value_of_the_semidefinite_program(seed: int) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    size = 8 + seed
    matrix = draw(seed, size)
    x = cvxpy.Variable((size, size), PSD=True)
    limits = [x[0, 0] == 1, cvxpy.diag(x)[1:] <= 1]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(matrix.numpy() @ x)), limits)
    value = problem.solve(solver=cvxpy.CLARABEL)
    assert decided(matrix, value - 0.002 * abs(value))
    assert not decided(matrix, value + 1e-6 * abs(value))


def test_multipliers_prove_what_their_sum_says() -> None:
    # 2 + 2bd − d²: with p, S = [[2 − t, b], [b, p − 1]]; t − p > 0 needs (2 − p)(p − 1) > b².
    for b, p, positive in (
        (0.4, 1.5, True),
        (0.6, 1.5, False),
        (0.4, 1.1, False),
        (0.0, 0.9, False),
    ):
        matrix = torch.tensor([[2.0, b], [b, -1.0]], dtype=torch.float64)
        assert proves(matrix, torch.tensor([p], dtype=torch.float64)) is positive
    # A tie is not positive: 1 − d² is 0 at the corners.
    tie = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    assert not proves(tie, torch.tensor([1.0], dtype=torch.float64))


def test_the_homogeneous_matrix_is_the_form_on_the_box() -> None:
    raw, centre, half, d = torch.rand(4, 5, 5, dtype=torch.float64)
    form, centre, half, d = raw + raw.T, centre[0], half[0], 2 * d[0] - 1
    v, z = torch.cat([torch.ones(1, dtype=d.dtype), d]), centre + half * d
    assert float(v @ homogeneous(form, centre, half) @ v) == pytest.approx(float(z @ form @ z))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rank=st.integers(1, 4))
def test_every_column_moves_to_the_least_value_in_its_ball(seed: int, rank: int) -> None:
    rng, size = np.random.default_rng(seed), 5
    form = draw(seed, size).numpy()
    centre, half = rng.normal(size=size), rng.random(size) * (rng.random(size) < 0.9)

    def in_balls(count: int) -> np.ndarray:
        ways = rng.normal(size=(count, rank, size))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        shift = np.zeros((1, rank, size))
        shift[0, 0] = centre
        return shift + half * ways * rng.random((count, 1, size)) ** 0.5

    def value(z: np.ndarray) -> np.ndarray:
        return np.einsum("...ri,ij,...rj->...", z, form, z)

    z = np.ascontiguousarray(in_balls(1)[0])
    last = float(value(z))
    for _ in range(3):
        found, _ = descend(form, centre, half, z, 1)
        assert found == pytest.approx(value(z))
        assert found <= last + 1e-9
        last = found
        # The last column was moved last: no other point of its ball is lower.
        others = np.repeat(z[None], 200, 0)
        others[:, :, -1] = in_balls(200)[:, :, -1]
        assert (value(others) >= found - 1e-9).all()
        shift = z - np.eye(rank)[:, :1] * centre
        assert (np.linalg.norm(shift, axis=0) <= half * (1 + 1e-12) + 1e-15).all()
    found, multipliers = descend(form, centre, half, z, 3000)
    # At a stationary point each column is pulled out of its ball, straight, or not at all.
    rest = z @ form * half + multipliers * (z - np.eye(rank)[:, :1] * centre) / np.where(
        half > 0, half, 1
    )
    assert np.abs(rest[:, half > 0]).max(initial=0) < 1e-3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_compiled_distance_is_the_best_bound_of_a_fine_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, energy = np.sort(rng.normal(size=5)), rng.random((3, 5))
    values[0] = -abs(values[0])
    values.sort()
    mu = np.linspace(0, 1, 200_001)[1:-1, None] / -values[0]
    for row, found in zip(energy, squared_distances(energy, values, 60), strict=True):
        bounds = (mu * values * row / (1 + mu * values)).sum(1)
        assert found == pytest.approx(max(0.0, bounds.max()), abs=1e-6, rel=1e-6)
        assert found >= bounds.max() - 1e-12
