"""Ball ∩ box: linear functions over it, and the search for radii pair by pair."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.specs import Perturbations
from qbench_certificates.margins import pair_bounds, radii
from qbench_certificates.pairwise import MarginQueries, margin_radii
from qbench_certificates.radii import PRECISION
from qbench_certificates.region import Region

BUDGETS = (0.1, 0.4)


def NOTHING(image, label, other, radius):  # noqa: N802
    """Evaluation without rounding."""
    return torch.zeros_like(radius)


def _region(norm, box, seed, n=5, features=6, radius=0.4):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, features, generator=generator, dtype=torch.float64).round(decimals=1)
    sizes = torch.full((n,), radius, dtype=torch.float64)
    region = Region.of(x, Perturbations(norm=norm, eps=BUDGETS, box=box), sizes)
    return x, region, generator


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["linf", "l2"]),
    st.sampled_from([None, (0.0, 1.0)]),
    st.floats(0.05, 2),
    st.integers(0, 2**31),
)
def test_no_point_of_the_region_exceeds_the_bound_and_one_almost_attains_it(
    norm, box, radius, seed
) -> None:
    x, region, generator = _region(norm, box, seed, radius=radius)
    c = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    value, point = region.largest(c)
    lengths = point.abs().amax(1) if norm == "linf" else point.norm(dim=1)
    assert bool((lengths <= radius * (1 + 1e-12)).all())
    if box is not None:
        assert bool(((x + point >= -1e-12) & (x + point <= 1 + 1e-12)).all())
    torch.testing.assert_close((c * point).sum(1), value, rtol=1e-3, atol=1e-9)
    assert bool(((c * point).sum(1) <= value + 1e-12).all())
    drawn = torch.randn(400, 6, generator=generator, dtype=torch.float64) * radius
    for i in range(5):
        inside = drawn.clamp(region.low[i], region.high[i])
        if norm == "l2":
            length = inside.norm(dim=1, keepdim=True)
            inside = inside * (radius / length).clamp(max=1)
        assert float((inside @ c[i]).max()) <= float(value[i]) + 1e-12


def test_the_ball_inside_the_box_is_exact() -> None:
    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    size = torch.tensor([0.3], dtype=torch.float64)
    c = torch.tensor([[3.0, 0.0, -4.0, 0.0]], dtype=torch.float64)
    region = Region.of(x, Perturbations(norm="l2", eps=BUDGETS), size)
    assert float(region.largest(c)[0]) == pytest.approx(0.3 * 5, rel=1e-12)
    # Of a pixel at 1 that wants to rise nothing is left, and the other takes it all.
    x[0, 0] = 1.0
    region = Region.of(x, Perturbations(norm="l2", eps=BUDGETS), size)
    assert float(region.largest(c)[0]) == pytest.approx(0.3 * 4, rel=1e-12)
    assert float(region.interval(c)[1]) == pytest.approx(0.3 * 4, rel=1e-12)
    assert float(region.interval(c)[0]) == pytest.approx(-0.3 * 5, rel=1e-12)


def test_the_box_halves_what_a_pixel_at_zero_can_do() -> None:
    x = torch.zeros(1, 2, dtype=torch.float64)
    size = torch.tensor([0.2], dtype=torch.float64)
    c = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for box, expected in ((None, 0.4), ((0.0, 1.0), 0.2)):
        region = Region.of(x, Perturbations(norm="linf", eps=BUDGETS, box=box), size)
        assert float(region.largest(c)[0]) == pytest.approx(expected)
        assert float(region.interval(c)[1]) == pytest.approx(expected)


def test_every_margin_of_an_image_is_asked_about_until_the_least_radius_is_found() -> None:
    scores = torch.tensor([[3.0, 0, 1], [0, 2, 0], [5, 4, 0], [0, 1, 0]], dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 1])  # the third is misclassified
    limits = torch.tensor([[9, 0.2, 0.15], [0.31, 9, 9], [9, 9, 9], [0.001, 9, 9.0]]).double()
    asked = []

    def proves(questions: MarginQueries) -> torch.Tensor:
        asked.append(questions)
        return questions.radius <= limits[questions.image, questions.other]

    found = margin_radii(scores, y, (0.1, 0.4), NOTHING, proves)
    for radius, limit in zip(found.tolist(), (0.15, 0.31, 0.0, 0.0), strict=True):
        assert radius <= limit <= radius * (1 + PRECISION)
    assert all(bool((q.label == y[q.image]).all() & (q.other != q.label).all()) for q in asked)
    assert not any(bool((q.image == 2).any()) for q in asked)
    assert all(len(q.image.unique()) == len(q.image) for q in asked)
    # A margin that rounding can take is no margin, and what it takes may grow with the radius.

    def paid(image, label, other, radius):
        return 2.5 * (radius > 0.12)

    assert margin_radii(scores, y, (0.1, 0.4), paid, lambda q: q.least < 1)[0] == pytest.approx(
        0.12, rel=PRECISION
    )
    everything = margin_radii(scores, y, (0.1, 0.4), lambda *_: torch.tensor(2.0), proves)
    assert everything.tolist() == [0, 0, 0, 0]


def test_radii_of_lipschitz_bounds() -> None:
    scores = torch.tensor([[3.0, 1, 2], [0, 1, 0], [1, 1, 0]], dtype=torch.float64)
    table = pair_bounds(3, lambda y, c: {(1, 0): 4.0, (2, 0): 1.0, (2, 1): 0.0}[y, c])
    y = torch.tensor([0, 1, 0])
    about = Perturbations(norm="l2", eps=(0.1, 2.0))
    found = radii(scores, y, table, about, NOTHING).radius
    assert found[0] == pytest.approx(0.5, abs=1e-4)
    assert found[0] < 0.5
    assert found[1] == pytest.approx(0.25, abs=1e-4)  # the other margin is constant
    assert found[2] == 0  # a tie is not proved
    # Rounding takes more the larger the radius; it is counted at one that is not too small.
    paid = radii(scores, y, table, about, lambda image, label, other, radius: radius).radius
    assert paid[0] == pytest.approx(0.375, abs=1e-9)
    assert paid[0] * 4 + paid[0] <= 2
