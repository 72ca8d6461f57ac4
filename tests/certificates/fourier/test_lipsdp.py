"""LipSDP: against the theorem written out, grids, closed forms and random slopes."""

from __future__ import annotations

import math
import time

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench.errors import Unsupported, VerificationError, WeightsError
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm, sample_points
from qbench_certificates.fourier import lipsdp
from qbench_certificates.fourier.lipsdp import LipSDP, scaled_product, solve, units
from qbench_classical.models import ConvNet, Fourier

NO_IMAGES = torch.empty(0)  # these bounds hold everywhere

BOTH = pytest.mark.parametrize("paired", [False, True], ids=["neuron", "pair"])


def _network(w, s, c) -> Fourier:
    w, s, c = (torch.as_tensor(np.asarray(m, float)) for m in (w, s, c))
    model = Fourier(features=w.shape[1], neurons=w.shape[0], classes=s.shape[0]).double()
    with torch.no_grad():
        model.frequencies.weight.copy_(w)
        model.sine.weight.copy_(s)
        model.cosine.weight.copy_(c)
    return model


def _random(seed: int, neurons: int, features: int, classes: int = 4, spread: float = 0.0):
    """W, S, C with weights that differ by factors of about e^spread."""
    rng = np.random.default_rng(seed)
    uneven = np.exp(spread * rng.normal(size=(3, neurons)))
    w = rng.normal(size=(neurons, features)) * uneven[0][:, None]
    s, c = (rng.normal(size=(classes, neurons)) * uneven[k] for k in (1, 2))
    return w, s, c


def _theorem_1(t, rho, w0, w1):
    """The matrix of Fazlyab et al. 2019, Eq. 8, for slopes in [-1, 1]; valid when it is ⪯ 0."""
    alpha, beta = -1.0, 1.0
    corner = -2 * alpha * beta * w0.T @ t @ w0 - rho * np.eye(w0.shape[1])
    cross = (alpha + beta) * w0.T @ t
    return [[corner, cross], [cross.T, -2 * t + w1.T @ w1]]


def test_one_sine_attains_the_bound() -> None:
    # f(x) = -2 sin(3 x1 + 4 x2): steepest at the origin, |2| · 5.
    model = _network([[3, 4]], [[-2]], [[0]])
    for paired in (False, True):
        assert LipSDP(paired)(model, NO_IMAGES).lipschitz == pytest.approx(10, rel=1e-9)
    origin = torch.zeros(1, 2, dtype=torch.float64)
    assert largest_jacobian_norm(model, origin, "vector") == pytest.approx(10)


def test_one_frequency_in_closed_form() -> None:
    # s sin z + c cos z = √(s² + c²) sin(z + φ). Neuron by neuron the phase is lost: |s| + |c|.
    model = _network([[3, 4]], [[5]], [[12]])
    assert LipSDP()(model, NO_IMAGES).lipschitz == pytest.approx(5 * (5 + 12), rel=1e-6)
    assert LipSDP(paired=True)(model, NO_IMAGES).lipschitz == pytest.approx(5 * 13, rel=1e-9)
    line = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None] * torch.tensor([[3.0, 4.0]])
    assert largest_jacobian_norm(model, line, "vector") == pytest.approx(5 * 13, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("neurons", "features", "classes"), [(2, 2, 1), (3, 5, 2), (4, 2, 4)])
def test_neuron_bound_is_the_theorem_solved_as_written(seed, neurons, features, classes) -> None:
    w, s, c = _random(seed, neurons, features, classes)
    w0, w1 = np.vstack([w, w]), np.hstack([s, c])
    t, rho = cp.Variable(2 * neurons, nonneg=True), cp.Variable()
    problem = cp.Problem(cp.Minimize(rho), [cp.bmat(_theorem_1(cp.diag(t), rho, w0, w1)) << 0])
    problem.solve(solver="CLARABEL")
    bound = LipSDP()(_network(w, s, c), NO_IMAGES).lipschitz
    assert bound == pytest.approx(math.sqrt(rho.value), rel=1e-5)


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_no_multipliers_of_a_fine_grid_do_better(seed: int, paired: bool) -> None:
    w, s, c = _random(seed, 2, 3, classes=2)
    if not paired:
        c = 0 * c  # two neurons, so that one ratio of multipliers is all there is
    rows, blocks = units(w, s, c, paired)
    rows, blocks = rows[:2], blocks[:2]
    grid = min(scaled_product(rows, blocks, np.array([1.0, r])) for r in np.logspace(-4, 4, 4001))
    bound = LipSDP(paired)(_network(w, s, c), NO_IMAGES).lipschitz
    assert grid * (1 - 1e-5) <= bound <= grid * (1 + 1e-7)


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    neurons=st.integers(1, 6),
    features=st.integers(1, 6),
    classes=st.integers(1, 4),
    spread=st.floats(0, 3),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 2**31),
)
def test_bound_is_above_every_slope_and_below_the_plain_product(
    paired, neurons, features, classes, spread, scale, seed, largest_slope
) -> None:
    w, s, c = _random(seed, neurons, features, classes, spread)
    model = _network(10**scale * w, s, c)
    bound = LipSDP(paired)(model, NO_IMAGES).lipschitz
    plain = 10**scale * np.linalg.norm(w, 2) * np.linalg.norm(np.hstack([s, c]), 2)
    assert bound <= plain * (1 if paired else math.sqrt(2)) * (1 + 1e-9)
    generator = torch.Generator().manual_seed(seed)
    points = sample_points(torch.rand(4, features, dtype=torch.float64), generator, 60)
    assert largest_jacobian_norm(model, points, "vector") <= bound * (1 + 1e-9)
    assert largest_slope(model, features, "vector", seed) <= bound * (1 + 1e-9)


@BOTH
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), neurons=st.integers(1, 4))
def test_any_multipliers_give_a_bound(paired, seed, neurons, largest_slope) -> None:
    w, s, c = _random(seed, neurons, 3)
    rows, blocks = units(w, s, c, paired)
    d = np.exp(3 * np.random.default_rng(seed).normal(size=len(rows)))
    bound = scaled_product(rows, blocks, d)
    assert scaled_product(rows, blocks, 7 * d) == pytest.approx(bound, rel=1e-12)
    assert largest_slope(_network(w, s, c), 3, "vector", seed) <= bound


def test_a_wrong_answer_of_the_solver_leaves_a_valid_bound(monkeypatch) -> None:
    w, s, c = _random(0, 3, 5)
    model = _network(w, s, c)
    best = LipSDP()(model, NO_IMAGES).lipschitz
    plain = math.sqrt(2) * np.linalg.norm(w, 2) * np.linalg.norm(np.hstack([s, c]), 2)
    for factor in (1e-6, 1e6):
        wrong = np.array([factor, 1, 1, 1, 1, 1 / factor])
        monkeypatch.setattr(lipsdp, "solve", lambda *_, d=wrong: d)
        assert best <= LipSDP()(model, NO_IMAGES).lipschitz <= plain * (1 + 1e-9)


@BOTH
def test_a_solver_that_stops_early_gives_no_bound(paired: bool) -> None:
    with pytest.raises(VerificationError, match="within 1 Newton steps") as raised:
        LipSDP(paired, max_iterations=1)(_network(*_random(0, 8, 8)), NO_IMAGES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("error", [np.linalg.LinAlgError, ValueError])
def test_a_solver_that_fails_gives_no_bound(monkeypatch, error) -> None:
    rows, blocks = units(*_random(0, 3, 5), paired=True)

    def fails(matrix) -> None:
        raise error("not this time")

    monkeypatch.setattr(lipsdp, "cho_factor", fails)
    with pytest.raises(VerificationError, match="LipSDP: no optimum"):
        solve(rows, blocks, 200)


def test_the_derivatives_of_the_barrier_are_those_of_its_formula() -> None:
    rng = np.random.default_rng(0)
    rows, parts = rng.normal(size=(5, 3)), 0.3 * rng.normal(size=(5, 2, 2))
    barrier = lipsdp._Barrier(rows, parts @ parts.mT)
    at = np.append(1 + rng.random(5), 40.0)

    def value(variables):
        d, rho = torch.as_tensor(variables[:-1]), variables[-1]
        r, b = torch.from_numpy(rows), torch.from_numpy(parts)
        read = rho * torch.eye(3, dtype=torch.float64) - r.mT @ torch.diag(d) @ r
        read_out = torch.eye(2, dtype=torch.float64) - ((b @ b.mT) / d[:, None, None]).sum(0)
        return 7.0 * rho - torch.logdet(read) - torch.logdet(read_out)

    point = torch.from_numpy(at)
    expected = torch.autograd.functional.jacobian(value, point)
    curved = torch.autograd.functional.hessian(value, point)
    gradient, hessian = barrier.derivatives(at, 7.0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9)
    np.testing.assert_allclose(hessian, curved, rtol=1e-9, atol=1e-12)
    # A step that leaves the cone is shortened until it does not.
    inward = np.append(np.zeros(5), -100.0)
    length = barrier.length(at, inward, 7.0, float(-gradient @ inward))
    moved = at + length * inward
    assert 0 < length < 0.4
    assert all(np.linalg.eigvalsh(block).min() > 0 for block in barrier.blocks(moved))
    assert float(value(moved)) < float(value(at))


@BOTH
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("spread", "ratio"), [(3.0, 1.0), (0.0, 1e6)])
def test_uneven_and_dependent_frequencies_are_solved(seed, spread, ratio, paired) -> None:
    # Weights that span several decades, a frequency given twice and one given almost twice.
    w, s, c = _random(seed, 24, 64, spread=spread)
    s, c = s * math.sqrt(ratio), c / math.sqrt(ratio)
    w[1], w[2] = w[0], w[0] * (1 + 1e-9)
    rows, blocks = units(w, s, c, paired)
    d = solve(rows, blocks, 200)
    assert scaled_product(rows, blocks, d) < scaled_product(rows, blocks, np.ones(len(d)))


def test_unused_neurons_change_nothing_and_a_constant_has_slope_zero() -> None:
    w, s, c = _random(3, 4, 5)
    wider = np.vstack([w, np.zeros((1, 5)), np.ones((1, 5))])
    padded = [np.hstack([m, np.ones((4, 1)), np.zeros((4, 1))]) for m in (s, c)]
    for paired in (False, True):
        expected = LipSDP(paired)(_network(w, s, c), NO_IMAGES).lipschitz
        assert LipSDP(paired)(_network(wider, *padded), NO_IMAGES).lipschitz == pytest.approx(
            expected, rel=1e-6
        )
        assert LipSDP(paired)(_network(0 * w, s, c), NO_IMAGES).lipschitz == 0
        assert LipSDP(paired)(_network(w, 0 * s, 0 * c), NO_IMAGES).lipschitz == 0


def test_weights_that_are_not_finite_are_named() -> None:
    w, s, c = _random(0, 3, 5)
    s[1, 2] = math.inf
    with pytest.raises(WeightsError, match=r"parameter 'sine\.weight' of Fourier"):
        LipSDP()(_network(w, s, c), NO_IMAGES)


def test_other_models_are_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"ConvNet has no parameter 'frequencies\.weight'"):
        LipSDP()(ConvNet(), NO_IMAGES)

    class Shifted(Fourier):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * x)

    with pytest.raises(Unsupported, match="Shifted does not compute what its parameters say"):
        LipSDP()(Shifted(), NO_IMAGES)


@BOTH
def test_published_checkpoint(paired: bool, load_published, published_images) -> None:
    model = load_published(Fourier(), "Fourier-32-neurons-0_0reg-ep20")
    start = time.process_time()
    bound = LipSDP(paired)(model, NO_IMAGES).lipschitz
    assert time.process_time() - start < 2
    w, s, c = (p.detach().numpy() for p in model.parameters())
    plain = np.linalg.norm(w, 2) * np.linalg.norm(np.hstack([s, c]), 2)
    assert plain == pytest.approx(0.736, abs=5e-4)
    assert bound == pytest.approx(0.6881 if paired else 0.9434, abs=5e-5)
    assert bound <= plain * (1 if paired else math.sqrt(2))
    generator = torch.Generator().manual_seed(0)
    certificate, sampled, _ = certify(LipSDP(paired), model, published_images, generator)
    assert certificate.lipschitz == bound  # the same on every run
    assert 0.49 < sampled < bound


def test_published_checkpoint_meets_the_matrix_inequality(load_published) -> None:
    model = load_published(Fourier(), "Fourier-32-neurons-0_0reg-ep20")
    w, s, c = (p.detach().numpy() for p in model.parameters())
    rows, blocks = units(w, s, c, paired=False)
    d = solve(rows, blocks, 200)
    read_out = np.hstack([s, c])
    t = np.diag(d / 2) * np.linalg.norm(read_out / np.sqrt(d), 2) ** 2
    matrix = np.block(_theorem_1(t, LipSDP()(model, NO_IMAGES).lipschitz ** 2, rows, read_out))
    assert matrix.shape == (320, 320)
    assert np.linalg.eigvalsh(matrix).max() <= 1e-13
    # And no smaller ρ will do for this T.
    smaller = np.block(
        _theorem_1(t, (LipSDP()(model, NO_IMAGES).lipschitz * (1 - 1e-6)) ** 2, rows, read_out)
    )
    assert np.linalg.eigvalsh(smaller).max() > 1e-9
