"""Radii of sine networks: lines and parabolas below cosines, duality, and a search in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_search import least_margin

from qbench.errors import Unsupported, VerificationError, WeightsError
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm
from qbench.evaluation.radii import certify_images
from qbench.specs import Perturbations
from qbench_certificates.fourier import lipschitz, quadratic
from qbench_certificates.fourier.linear import Linear, lowest, starting_slopes
from qbench_certificates.fourier.lipschitz import LipschitzRadius, MarginLipSDP
from qbench_certificates.fourier.lipsdp import LipSDP
from qbench_certificates.fourier.network import Waves
from qbench_certificates.fourier.quadratic import Quadratic, curvature, expanded
from qbench_certificates.fourier.shor import Dual, over_ball, over_box
from qbench_certificates.region import Region
from qbench_classical.models import ConvNet, Fourier

CERTIFIERS = {"linear": Linear, "quadratic": Quadratic, "lipschitz": LipschitzRadius}
ALL = pytest.mark.parametrize("name", CERTIFIERS)
BUDGETS = (0.02, 0.1, 0.4, 1.5)
SCALES = {"frequencies.weight": 1.5, "sine.weight": 1.0, "cosine.weight": 1.0}
seeds = st.integers(0, 2**31)


def _waves(generator, n=6, neurons=4):
    amplitude = 2 * torch.rand(n, neurons, generator=generator, dtype=torch.float64)
    phase = 7 * torch.rand(n, neurons, generator=generator, dtype=torch.float64) - 3.5
    return Waves(amplitude, phase)


def _intervals(generator, width):
    low = 20 * torch.rand(6, 4, generator=generator, dtype=torch.float64) - 10
    high = low + width * torch.rand(6, 4, generator=generator, dtype=torch.float64)
    return low, high


def _radii(name, model, x, y, norm, box=(0.0, 1.0)):
    perturbations = Perturbations(norm=norm, eps=BUDGETS, box=box)
    found, _ = certify_images(CERTIFIERS[name](), model, x, y, perturbations, torch.Generator())
    return found.radius, perturbations


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, st.floats(0.0, 12.0), st.floats(0, 3))
def test_the_line_lies_below_the_cosine_and_touches_it(seed, width, steepness) -> None:
    generator = torch.Generator().manual_seed(seed)
    waves = _waves(generator)
    low, high = _intervals(generator, width)
    s = steepness * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    for slopes in (s, starting_slopes(waves, low, high)):
        value, where = lowest(waves, slopes, low, high)
        assert bool(((where >= low) & (where <= high)).all())
        torch.testing.assert_close(waves.value(where) - slopes * where, value)
        share = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None, None]
        t = low + share * (high - low)
        below = (waves.amplitude * torch.cos(t - waves.phase) - slopes * t).amin(0)
        assert bool((value <= below + 1e-9).all())
        assert bool((value >= below - 2e-4).all())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, st.floats(0.0, 8.0))
def test_the_parabola_lies_below_the_cosine_and_nearly_touches_it_again(seed, width) -> None:
    generator = torch.Generator().manual_seed(seed)
    waves = _waves(generator)
    low, high = _intervals(generator, width)
    touch = low + (high - low) * torch.rand(6, 4, generator=generator, dtype=torch.float64)
    q = curvature(waves, touch, low, high)
    t = low + torch.linspace(0, 1, 3001, dtype=torch.float64)[:, None, None] * (high - low)
    line = waves.value(touch) + waves.slope(touch) * (t - touch)
    rest = waves.amplitude * torch.cos(t - waves.phase) - line
    assert bool((rest + q / 2 * (t - touch) ** 2 >= -1e-9).all())
    smaller = (q - waves.amplitude * ((high - low) / 32 + 1e-3)).clamp(min=0)
    assert bool(((rest + smaller / 2 * (t - touch) ** 2).amin(0)[smaller > 0] < 1e-9).all())


def test_parabolas_around_another_point_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    waves = _waves(generator)
    touch, z, d, q = torch.randn(4, 6, 4, generator=generator, dtype=torch.float64)
    constant, lean = expanded(waves, touch, q, z)
    away = z + d - touch
    parabola = waves.value(touch) + waves.slope(touch) * away - q / 2 * away**2
    torch.testing.assert_close(constant + (lean * d - q / 2 * d**2).sum(1), parabola.sum(1))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds, st.floats(0.05, 1), st.sampled_from(["linf", "l2"]))
def test_no_point_is_below_the_bound_of_any_round(seed, radius, norm) -> None:
    generator = torch.Generator().manual_seed(seed)
    waves, w = _waves(generator, 5, 4), torch.randn(4, 6, generator=generator, dtype=torch.float64)
    x = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    size = torch.full((5,), radius, dtype=torch.float64)
    region = Region.of(x, Perturbations(norm=norm, eps=BUDGETS, box=None), size)
    points = torch.randn(4000, 5, 6, generator=generator, dtype=torch.float64) * radius
    points = points.clamp(-radius, radius)
    length = points.norm(dim=-1, keepdim=True)
    points = points * (region.radius[:, None] / length).clamp(max=1)
    least = waves.value((x + points) @ w.mT).sum(-1).amin(0)
    span = region.interval(w)
    for rounds in (1, 2, 6):
        # Below every point tried, so that the rounds go on as long as they may.
        bound = quadratic.bound(w, waves, x, region, span, least - 1e-6, rounds)
        assert bool((bound <= least + 1e-9).all())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.floats(0.01, 3), st.sampled_from(["linf", "l2"]))
def test_no_point_exceeds_the_dual_of_the_quadratic(seed, radius, norm) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(5, 7, generator=generator, dtype=torch.float64)
    x = torch.where(x < 0.3, 0, x)
    sizes = torch.full((5,), radius, dtype=torch.float64)
    region = Region.of(x, Perturbations(norm=norm, eps=BUDGETS), sizes)
    w = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    q = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    q[0] = 0
    lean = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    solve = over_box if norm == "linf" else over_ball
    state = None
    for _ in range(3):
        limit = torch.full((5,), torch.inf, dtype=torch.float64)
        bound, delta, state = solve(w, q, lean, region, limit, state)
        assert bool(torch.isfinite(bound).all())
        assert bool((delta >= region.low - 1e-12).all() & (delta <= region.high + 1e-12).all())
        assert bool((delta.norm(dim=1) <= region.radius * (1 + 1e-12)).all())
        points = region.low + torch.rand(500, 5, 7, generator=generator, dtype=torch.float64) * (
            region.high - region.low
        )
        corners = torch.where(points > (region.low + region.high) / 2, region.high, region.low)
        points = torch.cat([points, corners, delta[None]])
        length = points.norm(dim=-1)
        points = points * (region.radius / length.clamp(min=1e-12)).clamp(max=1)[..., None]
        z = points @ w.mT
        value = (-lean * z + q / 2 * z * z).sum(-1)
        assert bool((value.amax(0) <= bound + 1e-9).all())
    # Below what a point reaches no bound is possible, and none is given.
    bound, _, _ = solve(w, q, lean, region, value.amax(0) - 1e-3, state)
    assert bool((bound >= value.amax(0) - 1e-9).all())


def test_over_a_box_the_dual_is_the_value_of_the_semidefinite_program() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    q, lean = (torch.rand(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    low = -torch.rand(4, 5, generator=generator, dtype=torch.float64)
    high = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    none = torch.full((4,), torch.inf, dtype=torch.float64)
    region, state = Region(low, high, none), None
    for _ in range(20):
        bound, _, state = over_box(w, q, lean, region, none, state)
    for i in range(4):
        centre, half = ((low + high) / 2)[i].numpy(), ((high - low) / 2)[i].numpy()
        m = w.numpy().T @ np.diag(q[i].numpy()) @ w.numpy()
        slope = -w.numpy().T @ lean[i].numpy()
        x = cvxpy.Variable((6, 6), PSD=True)
        matrix = np.zeros((6, 6))
        matrix[0, 0] = slope @ centre + centre @ m @ centre / 2
        matrix[0, 1:] = matrix[1:, 0] = half * (slope + m @ centre) / 2
        matrix[1:, 1:] = half[:, None] * m * half / 2
        problem = cvxpy.Problem(
            cvxpy.Maximize(cvxpy.trace(matrix @ x)), [cvxpy.diag(x) == np.ones(6)]
        )
        value = problem.solve(solver=cvxpy.CLARABEL)
        assert float(bound[i]) == pytest.approx(value, rel=2e-3)
        assert float(bound[i]) >= value - 1e-6
        # A limit below the value is not met; the relaxation itself says so.
        closer, _, _ = over_box(w, q, lean, region, torch.full_like(none, value - 0.05), state)
        assert float(closer[i]) == math.inf


def test_over_a_ball_without_box_the_dual_is_exact() -> None:
    # max −a·δ + ½ δᵀMδ over ‖δ‖ ≤ r with M = diag(2, 0), a = (1, 0): at δ = (−r, 0).
    w = torch.eye(2, dtype=torch.float64)
    q, lean = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[1.0, 0.0]]).double()
    region = Region.of(
        torch.zeros(1, 2, dtype=torch.float64),
        Perturbations(norm="l2", eps=BUDGETS, box=None),
        torch.tensor([0.5], dtype=torch.float64),
    )
    limit = torch.tensor([torch.inf], dtype=torch.float64)
    bound, delta, _ = over_ball(w, q, lean, region, limit, None)
    assert float(bound) == pytest.approx(0.5 + 0.25, rel=1e-6)
    assert delta[0].tolist() == pytest.approx([-0.5, 0.0], abs=1e-3)


def test_the_dual_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    q = torch.rand(1, 3, generator=generator, dtype=torch.float64)
    a, half, multipliers = 0.5 + torch.rand(3, 1, 5, generator=generator, dtype=torch.float64)
    b = q[0].sqrt()[:, None] * w * half[0]
    spectrum = torch.linalg.eigh((b / multipliers[0] @ b.mT)[None])
    dual = Dual.of(q.sqrt(), w, half, spectrum, a, multipliers, torch.tensor([2.0]).double())

    def formula(f: float) -> float:
        inverse = torch.linalg.inv(f * torch.diag(multipliers[0]) - b.mT @ b)
        return float(f + a[0] @ inverse @ a[0] / 2)

    top = float(dual.values[0, -1])
    for f in (1.01 * top, 2 * top, 9 * top):
        assert float(dual(torch.tensor([[f]], dtype=torch.float64))) == pytest.approx(
            formula(f), rel=1e-9
        )
    best, at, point = dual.least()
    grid = min(formula(top * (1 + k / 2000)) for k in range(1, 20000))
    assert float(best) == pytest.approx(grid, rel=1e-4)
    assert float(best) == pytest.approx(formula(float(at)), rel=1e-6)
    expected = -torch.linalg.solve(float(at) * torch.diag(multipliers[0]) - b.mT @ b, a[0])
    torch.testing.assert_close(point[0], expected)


@ALL
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=seeds,
    norm=st.sampled_from(["linf", "l2"]),
    box=st.sampled_from([None, (0.0, 1.0)]),
    neurons=st.integers(1, 5),
)
def test_nothing_within_the_radius_breaks_an_image(name, seed, norm, box, neurons, randomise):
    model = randomise(Fourier(features=4, neurons=neurons, classes=3), seed, SCALES)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    x = torch.where(x < 0.25, 0, torch.where(x > 0.9, 1, x))
    with torch.no_grad():
        y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    radius, perturbations = _radii(name, model, x, y, norm, box)
    assert radius[0] == 0
    assert bool((least_margin(model, x, y, perturbations, radius, seed) > 0).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_frequency_is_certified_up_to_the_last_rung_below_its_zero(norm) -> None:
    # Margins ±2 cos(3 x1 + 4 x2): positive at the origin until |z| = π/2, so at ε = π/14 or π/10.
    model = Fourier(features=2, neurons=1, classes=2).double()
    with torch.no_grad():
        model.frequencies.weight.copy_(torch.tensor([[3.0, 4.0]]))
        model.sine.weight.zero_()
        model.cosine.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    edge = math.pi / 14 if norm == "linf" else math.pi / 10
    for name in ("linear", "quadratic"):
        for factor, proved in ((0.999, True), (1.001, False)):
            perturbations = Perturbations(norm=norm, eps=(factor * edge,), box=None)
            found = CERTIFIERS[name]()(model, x, y, perturbations, torch.Generator()).radius
            assert (float(found) == factor * edge) is proved
            assert float(found) >= 0.85 * edge


def test_the_box_is_used(randomise) -> None:
    model = randomise(Fourier(features=6, neurons=3, classes=3), 0, SCALES)
    x = torch.zeros(1, 6, dtype=torch.float64)
    y = model(x).argmax(1)
    for name in ("linear", "quadratic"):
        for norm in ("linf", "l2"):
            free, _ = _radii(name, model, x, y, norm, None)
            boxed, _ = _radii(name, model, x, y, norm)
            assert boxed > free


def test_parabolas_beat_lines_on_many_neurons(randomise) -> None:
    scales = {"frequencies.weight": 0.3, "sine.weight": 1.0, "cosine.weight": 1.0}
    model = randomise(Fourier(features=40, neurons=12, classes=3), 0, scales)
    x = torch.rand(20, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model(x).argmax(1)
    for norm in ("linf", "l2"):
        lines, parabolas = (_radii(name, model, x, y, norm)[0] for name in ("linear", "quadratic"))
        assert bool((parabolas >= lines).all())
        assert float(parabolas.mean()) > 1.1 * float(lines.mean())


def test_a_point_that_refutes_ends_the_rounds() -> None:
    waves = Waves(torch.ones(1, 1).double(), torch.zeros(1, 1).double())
    x, w = torch.full((1, 1), 0.5).double(), torch.ones(1, 1).double()
    size = torch.tensor([3.0]).double()
    region = Region.of(x, Perturbations(norm="linf", eps=BUDGETS, box=None), size)
    span = region.interval(w)
    bound = quadratic.bound(w, waves, x, region, span, torch.tensor([-0.5]).double(), 5)
    assert float(bound) == -math.inf


def test_margins_are_at_most_root_two_as_steep_as_the_scores(randomise) -> None:
    model = randomise(Fourier(features=6, neurons=5, classes=4), 1, SCALES)
    x = torch.rand(8, 6, dtype=torch.float64)
    bound, sampled, _ = certify(MarginLipSDP(), model, x, torch.Generator().manual_seed(0))
    assert bound.scope == "margin"
    assert sampled <= bound.lipschitz
    assert bound.lipschitz <= math.sqrt(2) * LipSDP(True)(model, x).lipschitz * (1 + 1e-6)


def test_one_sine_attains_the_margin_bound() -> None:
    model = Fourier(features=2, neurons=1, classes=2).double()
    with torch.no_grad():
        model.frequencies.weight.copy_(torch.tensor([[3.0, 4.0]]))
        model.sine.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model.cosine.weight.zero_()
    origin = torch.zeros(1, 2, dtype=torch.float64)
    assert MarginLipSDP()(model, origin).lipschitz == pytest.approx(10, rel=1e-9)
    assert largest_jacobian_norm(model, origin, "margin") == pytest.approx(10)
    with torch.no_grad():
        model.sine.weight.zero_()
    assert MarginLipSDP()(model, origin).lipschitz == 0


def test_a_solver_that_fails_gives_no_radius(monkeypatch, randomise) -> None:
    def fails(*_: object) -> None:
        raise VerificationError("no bound")

    monkeypatch.setattr(lipschitz, "solve", fails)
    model = randomise(Fourier(features=3, neurons=2, classes=2), 0, SCALES)
    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    with pytest.raises(VerificationError):
        LipschitzRadius()(model, x, y, Perturbations(norm="l2", eps=BUDGETS), torch.Generator())


@ALL
def test_bad_models(name) -> None:
    certifier, x, y = CERTIFIERS[name](), torch.rand(2, 256), torch.tensor([0, 1])
    perturbations = Perturbations(norm="linf", eps=BUDGETS)
    with pytest.raises(Unsupported, match=r"ConvNet has no parameter 'frequencies\.weight'"):
        certifier(ConvNet(), x, y, perturbations, torch.Generator())
    model = Fourier()
    with torch.no_grad():
        model.cosine.weight[0, 0] = np.nan
    with pytest.raises(WeightsError, match=r"'cosine\.weight'"):
        certifier(model, x, y, perturbations, torch.Generator())
