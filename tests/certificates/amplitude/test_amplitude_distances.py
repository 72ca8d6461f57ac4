"""Distances to a quadratic cone: by hand, in the hard case, and against the exact attack."""

from __future__ import annotations

import math

import pytest
import torch
from amplitude_search import glyphs, zoo_model
from hypothesis import given
from hypothesis import strategies as st

from qbench_attacks.amplitude import shortest_to_cone
from qbench_certificates.amplitude.boxed import squared_distance_in_box
from qbench_certificates.amplitude.cone import squared_distance
from qbench_certificates.amplitude.exact import exact_radii
from qbench_certificates.amplitude.pairwise_margins import PairwiseMargin, pairwise_margins

MINKOWSKI = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))


def doubles(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def distance(x: torch.Tensor, form: torch.Tensor) -> torch.Tensor:
    return squared_distance(x, *torch.linalg.eigh(form)).sqrt()


def test_two_features_by_hand_and_in_the_hard_case() -> None:
    x = doubles([0.0, 1.0], [0.5, 1.0])
    # a cone of ±45°; the first point has nothing along its axis
    assert distance(x, MINKOWSKI).tolist() == pytest.approx([math.sqrt(0.5), 0.5 / math.sqrt(2)])
    assert squared_distance(doubles([2.0, 1.0]), *torch.linalg.eigh(MINKOWSKI)).item() <= 0


def test_a_hard_case_with_a_double_lowest_eigenvalue() -> None:
    form = torch.diag(torch.tensor([-1.0, -1.0, 3.0], dtype=torch.float64))
    # √3 z = r: 60° from the axis
    assert distance(doubles([0.0, 0.0, 2.0]), form).item() == pytest.approx(math.sqrt(3))


def test_close_to_the_hard_case_the_distance_is_continuous() -> None:
    found = distance(doubles([1e-9, 1.0], [1e-6, 1.0]), MINKOWSKI)
    assert found.tolist() == pytest.approx([math.sqrt(0.5), math.sqrt(0.5)], abs=2e-6)


def test_the_origin_is_always_in_the_set() -> None:
    x = doubles([3.0, 4.0])
    assert distance(x, torch.eye(2, dtype=torch.float64)).item() == pytest.approx(5)
    # semidefinite: the null space is nearer
    assert distance(x, torch.diag(doubles([0.0, 2.0])[0])).item() == pytest.approx(4)


def test_a_rival_that_never_wins_leaves_the_distance_to_the_origin() -> None:
    form = torch.eye(2, dtype=torch.float64)
    never = PairwiseMargin(torch.tensor([0]), form, *torch.linalg.eigh(form))
    x, correct = doubles([0.6, 0.8]), torch.tensor([True])
    for box in (None, (0.0, 1.0)):
        assert exact_radii(x, correct, [never], box).item() == pytest.approx(1)


@given(seed=st.integers(0, 10_000), features=st.integers(2, 6))
def test_distances_are_those_of_the_exact_attack(seed: int, features: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(features, features, generator=generator, dtype=torch.float64)
    x = torch.randn(20, features, generator=generator, dtype=torch.float64)
    form = raw + raw.T
    x = x[((x @ form) * x).sum(1) > 0]
    length = shortest_to_cone(x, form).norm(dim=1)
    reached = torch.isfinite(length)
    assert distance(x, form)[reached].tolist() == pytest.approx(length[reached].tolist(), rel=1e-6)


@given(seed=st.integers(0, 10_000), features=st.integers(2, 5))
def test_within_a_box_the_bound_holds_and_is_reached(seed: int, features: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(features, features, generator=generator, dtype=torch.float64)
    form = raw + raw.T
    x = torch.rand(30, features, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    x = x.clamp(0, 1)
    x = x[((x @ form) * x).sum(1) > 0]
    values = torch.linalg.eigvalsh(form)
    bound, z = squared_distance_in_box(x, form, values, (0.0, 1.0))
    assert bool(((z >= 0) & (z <= 1)).all())
    # Nothing in the box that ties is nearer: dense samples, and the rays to them.
    points = torch.rand(20_000, features, generator=generator, dtype=torch.float64)
    points[10_000:] = (points[10_000:] * 2 - 0.5).clamp(0, 1)
    points = points[((points @ form) * points).sum(1) <= 0]
    if len(points) and len(x):
        assert bool((torch.cdist(x, points).amin(1).square() >= bound - 1e-9).all())
    # Where the point of the bound ties, the bound is its distance: exact.
    tie = (((z @ form) * z).sum(1).abs() < 1e-6) & bound.isfinite()
    assert (z - x).square().sum(1)[tie].tolist() == pytest.approx(bound[tie].tolist(), abs=1e-3)


def test_a_box_may_push_the_tie_further_away() -> None:
    form = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    form[0, 1] = form[1, 0] = 0.75  # x² + 1.5xy − y²: zero at y = 2x and at y = −x/2
    values, vectors = torch.linalg.eigh(form)
    x = doubles([1.0, 0.0])
    free = squared_distance(x, values, vectors)
    assert free.item() == pytest.approx(1 / 5)  # to y = −x/2, which leaves the box
    inside, z = squared_distance_in_box(x, form, values, (0.0, 1.0))
    assert free.item() < inside.item() <= 4 / 5  # to y = 2x
    assert bool((z >= 0).all())


@pytest.mark.parametrize(
    ("name", "seed"),
    [("amplitude", 0)]
    + [
        pytest.param(name, seed, marks=pytest.mark.slow)
        for name in ("amplitude", "amplitude-at")
        for seed in range(5)
    ],
)
def test_radii_of_the_zoo_are_the_distances_of_the_exact_attack(name: str, seed: int) -> None:
    model, (x, y) = zoo_model(name, seed), glyphs()
    x = x.double()
    correct, rivals = pairwise_margins(model, x, y, margin=0.0)
    radius = exact_radii(x, correct, rivals, None)
    forms = model.double().quadratic_forms()
    length = torch.full_like(radius, torch.inf)
    for label in range(4):
        for rival in range(4):
            rows = (y == label).nonzero()[:, 0]
            if label != rival:
                delta = shortest_to_cone(x[rows], forms[label] - forms[rival])
                length[rows] = torch.minimum(length[rows], delta.norm(dim=1))
    length = torch.where(correct, length, 0.0)
    assert 0.4 < correct.double().mean() <= 1
    assert torch.allclose(radius, length, rtol=1e-6, atol=1e-9)
