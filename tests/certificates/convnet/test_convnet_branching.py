"""The search over pieces of windows: its leaves are a proof, and it finds what is there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from small_convnet import dual, question

from qbench_certificates.convnet.branching import leaves
from qbench_certificates.convnet.problem import Problem

seeds = st.integers(0, 2**31)


def _least_margin(problem: Problem, alive) -> float:
    """The exact least margin over a box: a linear program for each choice of concave pieces.

    A window of positive weight is a variable above its pieces.
    """
    v, size, positions = problem.v, len(problem.low), len(problem.patches)
    rows = np.zeros((len(v), 5, size))
    for j, w in itertools.product(range(len(v)), range(4)):
        rows[j, w, problem.patches[j % positions]] = problem.rows[j // positions, w]
    level = np.concatenate([problem.a, np.zeros((len(v), 1))], axis=1)
    convex = [j for j in range(len(v)) if v[j] > 0]
    concave = [j for j in range(len(v)) if v[j] < 0]
    above = np.zeros((5 * len(convex), size + len(convex)))
    for n, j in enumerate(convex):
        above[5 * n : 5 * n + 5, :size] = rows[j]
        above[5 * n : 5 * n + 5, size + n] = -1
    limits = -level[convex].ravel() if convex else None
    box = [*zip(problem.low, problem.high, strict=True), *[(None, None)] * len(convex)]
    best = np.inf
    for choice in itertools.product(*(np.flatnonzero(alive[j]) for j in concave)):
        cost = np.concatenate([np.zeros(size), v[convex]])
        offset = problem.constant
        for j, w in zip(concave, choice, strict=True):
            cost[:size] += v[j] * rows[j, w]
            offset += v[j] * level[j, w]
        found = linprog(cost, A_ub=above if convex else None, b_ub=limits, bounds=box)
        assert found.status == 0
        best = min(best, offset + found.fun)
    return best


def _choices(leaf, alive) -> set[tuple[int, ...]]:
    """The choices of one piece for each window that a leaf is about."""
    return set(itertools.product(*(np.flatnonzero(row) for row in leaf.alive)))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=seeds, radius=st.floats(0.05, 0.6))
def test_the_search_is_exact_on_networks_small_enough_to_enumerate(seed, radius, randomise) -> None:
    problem, alive, *_ = question(seed, "linf", radius, randomise, channels=1)
    exact = _least_margin(problem, alive)
    # Just below the least margin it is proved, just above it is not.
    tree = list(leaves(problem, alive, exact - 0.02, 200, 2000))
    assert min(leaf.bound for leaf in tree) > exact - 0.02
    for leaf in tree:  # from its slopes alone
        assert dual(problem, leaf.alive, leaf.planes, leaf.shares) == pytest.approx(leaf.bound)
        assert leaf.bound <= _least_margin(problem, leaf.alive) + 1e-7
    above = [leaf.bound for leaf in leaves(problem, alive, exact + 1e-6, 200, 50)]
    assert min(above) <= exact + 1e-6
    # The leaves leave nothing out.
    covered = set().union(*(_choices(leaf, alive) for leaf in tree))
    assert covered == set(itertools.product(*(np.flatnonzero(row) for row in alive)))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds, norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.1, 0.8))
def test_splitting_raises_the_bound_and_no_point_is_below(seed, norm, radius, randomise) -> None:
    problem, alive, network, x, region = question(seed, norm, radius, randomise, channels=3)
    points = region.low + torch.rand(400, 36, dtype=torch.float64) * (region.high - region.low)
    points *= (float(region.radius) / points.norm(dim=1, keepdim=True)).clamp(max=1)
    scores = network.scores(x + points)
    least = float((scores[:, 0] - scores[:, 1]).min())
    (root,) = leaves(problem, alive, least - 1e-9, 100, 0)
    tree = list(leaves(problem, alive, least - 1e-9, 100, 60))
    bound = min(leaf.bound for leaf in tree)
    assert bound == -np.inf or root.bound - 1e-9 <= bound <= least
    for leaf in tree:
        if leaf.bound > -np.inf:
            proved = dual(problem, leaf.alive, leaf.planes, leaf.shares)
            assert proved == pytest.approx(leaf.bound, abs=1e-9)


def test_every_run_finds_the_same(randomise) -> None:
    problem, alive, *_ = question(3, "linf", 0.5, randomise, channels=3)
    first, second = (list(leaves(problem, alive, 0.0, 30, 40)) for _ in range(2))
    assert [leaf.bound for leaf in first] == [leaf.bound for leaf in second]
