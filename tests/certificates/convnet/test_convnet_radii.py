"""Radii of the convolutional network: planes below pooled values, slopes, and a search."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_search import least_margin
from torch import nn

from qbench.errors import Unsupported, WeightsError
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm
from qbench.evaluation.radii import certify_images
from qbench.specs import Perturbations
from qbench_certificates.convnet import kernel
from qbench_certificates.convnet.linear import Linear
from qbench_certificates.convnet.network import WindowNetwork
from qbench_certificates.convnet.spectral_pair import LocalSlope, SpectralPair
from qbench_certificates.region import Region
from qbench_classical.models import ConvNet, Fourier

CERTIFIERS = {"linear": Linear, "local": LocalSlope}
BUDGETS = (0.02, 0.1, 0.4, 1.5)
SCALES = {"conv.weight": 0.5, "conv.bias": 0.5, "linear.weight": 1.0, "linear.bias": 1.0}
seeds = st.integers(0, 2**31)


def _small(channels: int = 2, side: int = 6, classes: int = 3, size: int = 3) -> ConvNet:
    """A ConvNet of other sizes: 3x3 kernels on 6x6 images have windows that share pixels."""
    model = ConvNet(classes=classes)
    model.image_shape = side, side
    model.conv = nn.Conv2d(1, channels, size)
    model.linear = nn.Linear(channels * ((side - size + 1) // 2) ** 2, classes)
    return model.double()


def _radii(name, model, x, y, norm, box=(0.0, 1.0)):
    perturbations = Perturbations(norm=norm, eps=BUDGETS, box=box)
    found, _ = certify_images(CERTIFIERS[name](), model, x, y, perturbations, torch.Generator())
    return found.radius, perturbations


@pytest.mark.parametrize(("side", "size"), [(6, 3), (7, 3), (9, 5), (8, 4)])
def test_windows_are_the_network(side: int, size: int, randomise) -> None:
    model = randomise(_small(side=side, size=size), 0, SCALES)
    network = WindowNetwork.read(model)
    x = torch.rand(4, side**2, dtype=torch.float64)
    a = network.outputs(x)
    scores = a.amax(-1).clamp(min=0) @ network.weight.mT + network.offset
    torch.testing.assert_close(scores, model(x))
    difference = torch.einsum("jwp,np->njw", network.matrix, x[1:] - x[:1])
    torch.testing.assert_close(difference, a[1:] - a[:1])


def _random_unit(seed: int):
    rng = np.random.default_rng(seed)
    rows, a, s = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=4)
    low, high = -rng.random(3), rng.random(3)
    low[rng.random(3) < 0.3] = 0.0
    return rng, rows, a, s, low, high


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([math.inf, 0.4, 1.0]), st.booleans())
def test_the_plane_lies_below_a_pooled_value(seed, radius, negative) -> None:
    rng, rows, a, s, low, high = _random_unit(seed)
    v = -1.5 if negative else 1.5
    lower, upper = kernel.spans(rows[None], np.arange(3)[None], a[None], low, high, radius)
    alive = kernel.winners(lower, upper)[0]
    reached, room, point = np.empty(4), np.empty(3), np.empty(3)
    if negative:
        least = kernel.concave(
            v, s, s @ rows, rows, a, low, high, radius, alive, room, point, reached
        )
        corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
    else:
        least = kernel.convex(v, s, lower[0], upper[0], reached)
        corners = np.array([])
    drawn = low + rng.random((3000, 3)) * (high - low)
    if math.isinf(radius) and negative:
        drawn = np.vstack([drawn, corners])
    drawn *= np.minimum(1, radius / np.maximum(np.linalg.norm(drawn, axis=1), 1e-12))[:, None]
    outputs = a + drawn @ rows.T
    assert (outputs >= lower[0] - 1e-9).all()
    assert (outputs <= upper[0] + 1e-9).all()
    values = v * np.maximum(outputs.max(1), 0) - outputs @ s
    assert least <= values.min() + 1e-9
    winner = np.where(outputs.max(1) > 0, outputs.argmax(1), 4)
    assert alive[winner].all()
    # The outputs that take it are outputs of the region, or of the box of their intervals.
    assert least <= v * max(0, reached.max()) - s @ reached + 1e-9
    assert ((lower[0] - 1e-9 <= reached) & (reached <= upper[0] + 1e-9)).all()
    if math.isinf(radius) and negative:  # concave: a corner is lowest
        assert least == pytest.approx(values.min(), abs=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds)
def test_the_least_over_a_box_of_outputs_is_exact(seed) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.normal(size=4)
    upper, s = lower + 2 * rng.random(4), rng.normal(size=4)
    reached = np.empty(4)
    least = kernel.convex(1.3, s, lower, upper, reached)
    assert (reached >= lower).all()
    assert (reached <= upper).all()
    assert least == pytest.approx(1.3 * max(0, reached.max()) - s @ reached)
    # Of a convex piecewise linear function the breakpoints of every output decide.
    levels = np.concatenate([lower, upper, [0.0]])
    grid = [[level for level in levels if lower[w] <= level <= upper[w]] for w in range(4)]
    outputs = np.array(list(itertools.product(*grid)))
    values = 1.3 * np.maximum(outputs.max(1), 0) - outputs @ s
    assert least == pytest.approx(values.min())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([math.inf, 0.2, 0.8, 3.0]))
def test_compiled_support_bounds_every_point(seed, radius) -> None:
    rng = np.random.default_rng(seed)
    c, low, high = rng.normal(size=5), -rng.random(5), rng.random(5)
    point = np.empty(5)
    value = kernel.support(c, low, high, radius, point)
    assert c @ point <= value + 1e-12
    assert value == pytest.approx(c @ point, rel=2e-3)
    assert (point >= low).all()
    assert (point <= high).all()
    assert np.linalg.norm(point) <= radius * (1 + 1e-12)
    drawn = low + rng.random((2000, 5)) * (high - low)
    drawn *= np.minimum(1, radius / np.linalg.norm(drawn, axis=1))[:, None]
    assert (drawn @ c).max() <= value + 1e-12


def _question(seed, norm, radius, randomise):
    """One margin of a small network: v, constant, the network, an image, and its region."""
    model = randomise(_small(), seed, SCALES)
    network = WindowNetwork.read(model)
    x = torch.rand(1, 36, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    size = torch.tensor([radius], dtype=torch.float64)
    region = Region.of(x, Perturbations(norm=norm, eps=BUDGETS), size)
    v = (network.weight[0] - network.weight[1]).numpy()
    return v, float(network.offset[0] - network.offset[1]), network, x, region


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 0.6))
def test_decided_windows_are_linear_and_the_margin_is_the_networks(seed, norm, radius, randomise):
    v, constant, network, x, region = _question(seed, norm, radius, randomise)
    rows, patches, a = network.rows.numpy(), network.patches.numpy(), network.outputs(x)[0].numpy()
    low, high = region.low[0].numpy(), region.high[0].numpy()
    lower, upper = kernel.spans(rows, patches, a, low, high, float(region.radius))
    alive = kernel.winners(lower, upper)
    index, slope = kernel.undecided(v, alive), np.empty(36)
    level = constant + kernel.decided(v, rows, patches, a, alive, slope)
    rng = np.random.default_rng(seed)
    delta, outputs = low + rng.random(36) * (high - low), np.empty((len(index), 4))
    delta *= min(1.0, float(region.radius) / np.linalg.norm(delta))

    def expected(delta):
        scores = network.scores(x + torch.from_numpy(delta))[0]
        return float(scores[0] - scores[1])

    found = kernel.margin(v, level, slope, index, rows, patches, a, delta, outputs)
    assert found == pytest.approx(expected(delta), abs=1e-9)
    at = network.outputs(x + torch.from_numpy(delta))[0].numpy()
    np.testing.assert_allclose(outputs, at[index], atol=1e-9)
    # Downhill, each window keeps its winner: the gradient of the margin decides every pixel.
    moved = torch.from_numpy(delta).requires_grad_()
    scores = network.scores(x + moved)[0]
    (gradient,) = torch.autograd.grad(scores[0] - scores[1], moved)
    kernel.downhill(v, slope, index, rows, patches, outputs, low, high, float(region.radius), delta)
    point = np.empty(36)
    kernel.support(-gradient.numpy(), low, high, float(region.radius), point)
    np.testing.assert_allclose(delta, point, atol=1e-9)
    outside = max((delta - high).max(), (low - delta).max())
    assert outside <= 1e-12
    assert np.linalg.norm(delta) <= float(region.radius) * (1 + 1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 0.6))
def test_the_ascent_starts_at_the_dual_written_out(seed, norm, radius, randomise) -> None:
    v, constant, network, x, region = _question(seed, norm, radius, randomise)
    rows, patches, a = network.rows.numpy(), network.patches.numpy(), network.outputs(x)[0].numpy()
    low, high, ball = region.low[0].numpy(), region.high[0].numpy(), float(region.radius)
    spans = kernel.spans(rows, patches, a, low, high, ball)
    arguments = (v, constant, rows, patches, a, *spans, low, high, ball)
    found = kernel.ascend(*arguments, 1e6, 0.05, 0)
    alive, s = kernel.winners(*spans), kernel.start(v, *spans)
    positions, matrix = len(patches), network.matrix.numpy()
    value = constant
    for j in range(len(v)):
        if alive[j].sum() == 1:  # linear, whatever the slopes to start from are
            s[j] = np.where(alive[j, :4], v[j], 0.0)
        elif v[j] < 0:
            seen, kernels = patches[j % positions], rows[j // positions]
            slopes = [s[j] - v[j] * np.eye(4)[w] if w < 4 else s[j] for w in range(5)]
            value -= max(
                c @ a[j] + kernel.support(c @ kernels, low[seen], high[seen], ball, np.empty(16))
                for c, known in zip(slopes, alive[j], strict=True)
                if known
            )
        else:
            value += kernel.convex(v[j], s[j], spans[0][j], spans[1][j], np.empty(4))
    value += (s * a).sum()
    value -= kernel.support(-np.einsum("jw,jwp->p", s, matrix), low, high, ball, np.empty(36))
    assert found == pytest.approx(value, abs=1e-9)
    # The ascent only raises it, and no point of the region is below.
    best = kernel.ascend(*arguments, 1e6, 0.05, 40)
    assert best == -np.inf or best >= found
    points = region.low + torch.rand(400, 36, dtype=torch.float64) * (region.high - region.low)
    points *= (ball / points.norm(dim=1, keepdim=True)).clamp(max=1)
    scores = network.scores(x + points)
    least = float((scores[:, 0] - scores[:, 1]).min())
    assert kernel.ascend(*arguments, least - 1e-9, 0.05, 40) <= least + 1e-9


@pytest.mark.parametrize("name", CERTIFIERS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=seeds,
    norm=st.sampled_from(["linf", "l2"]),
    box=st.sampled_from([None, (0.0, 1.0)]),
    channels=st.integers(1, 3),
)
def test_nothing_within_the_radius_breaks_an_image(name, seed, norm, box, channels, randomise):
    norm = "l2" if name == "local" else norm
    model = randomise(_small(channels), seed, SCALES)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 36, generator=generator, dtype=torch.float64)
    x = torch.where(x < 0.25, 0, torch.where(x > 0.9, 1, x))
    with torch.no_grad():
        y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    radius, perturbations = _radii(name, model, x, y, norm, box)
    assert radius[0] == 0
    assert bool((least_margin(model, x, y, perturbations, radius, seed) > 0).all())


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_network_whose_windows_are_decided_is_certified_exactly(name, norm, sign, randomise):
    if name == "local" and norm == "linf":
        pytest.skip("in ℓ2 only")
    model = randomise(_small(channels=1, classes=2), 3, SCALES)
    with torch.no_grad():
        # One pixel a window, always positive, and no rival: the margin is linear in x.
        model.conv.weight.zero_()
        model.conv.weight[0, 0, 1, 1] = 1.0
        model.conv.bias.fill_(10.0)
        model.linear.weight *= sign
    x = torch.zeros(1, 36, dtype=torch.float64)
    x[0, [7, 9, 19, 21]] = 5.0  # the first output of each window wins by far
    model.linear.bias.data.zero_()
    gradient = (model.linear.weight[0] - model.linear.weight[1]).detach()
    with torch.no_grad():
        margin = float(model(x) @ torch.tensor([1.0, -1.0]).double())
    y = torch.tensor([0 if margin > 0 else 1])
    model.linear.bias.data[int(y)] += 1 - abs(margin)  # leaves a margin of one
    slope = float(gradient.abs().sum() if norm == "linf" else gradient.norm())
    edge = 1 / slope
    for factor, proved in ((0.998, True), (1.001, False)):
        perturbations = Perturbations(norm=norm, eps=(factor * edge,), box=None)
        found = CERTIFIERS[name]()(model, x, y, perturbations, torch.Generator()).radius
        assert (float(found) == factor * edge) is proved
        assert float(found) >= 0.85 * edge


def test_ascent_and_box_tighten(randomise) -> None:
    model = randomise(_small(3), 5, SCALES)
    x = torch.rand(20, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.where(x < 0.5, 0, x)
    y = model(x).argmax(1)
    for norm in ("linf", "l2"):
        boxed, perturbations = _radii("linear", model, x, y, norm)
        free, _ = _radii("linear", model, x, y, norm, None)
        start = Linear(steps=0)(model, x, y, perturbations, torch.Generator()).radius
        assert bool((boxed >= free).all())
        assert float(boxed.mean()) > 1.05 * float(free.mean())
        assert bool((boxed >= start).all())
        assert float(boxed.mean()) > 1.02 * float(start.mean())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds, side=st.integers(6, 9))
def test_no_slope_exceeds_the_pair_bound(seed, side, largest_slope, randomise) -> None:
    model = randomise(_small(side=side), seed, SCALES)
    x = torch.rand(8, side**2, dtype=torch.float64)
    bound, sampled, _ = certify(SpectralPair(), model, x, torch.Generator().manual_seed(seed))
    assert bound.scope == "margin"
    assert sampled <= bound.lipschitz
    # In steps that cross from one linear piece to another, too.
    weight, offset = model.linear.weight.detach().clone(), model.linear.bias.detach().clone()
    pairs = torch.tensor([[1.0, -1, 0], [1, 0, -1], [0, 1, -1]], dtype=torch.float64)
    with torch.no_grad():
        model.linear.weight.copy_(pairs @ weight)
        model.linear.bias.copy_(pairs @ offset)
    assert largest_slope(model, side**2, "score", seed) <= bound.lipschitz * (1 + 1e-9)


def test_one_window_attains_the_pair_bound(randomise) -> None:
    model = randomise(_small(channels=1, side=4, classes=2), 0, SCALES)
    with torch.no_grad():
        model.conv.bias.fill_(50.0)
    x = torch.rand(1, 16, dtype=torch.float64)
    bound = SpectralPair()(model, x).lipschitz
    # Every output of the window reads the kernel, so whichever wins the gradient is as long.
    weight = model.linear.weight.detach()
    expected = float(abs(weight[0] - weight[1]) * model.conv.weight.detach().norm())
    assert bound == pytest.approx(expected, rel=1e-9)
    assert largest_jacobian_norm(model, x, "margin") == pytest.approx(expected)


def test_the_slope_nearby_is_at_most_the_global_one(randomise) -> None:
    model = randomise(_small(), 2, SCALES)
    x = torch.rand(10, 36, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        scores = model(x)
    y = scores.argmax(1)
    radius, _ = _radii("local", model, x, y, "l2")
    top = scores.topk(2).values
    everywhere = (top[:, 0] - top[:, 1]) / SpectralPair()(model, x).lipschitz
    assert bool((radius >= 0.85 * everywhere.clamp(max=BUDGETS[-1]) - 0.003).all())
    assert float(radius.mean()) > 1.1 * float(everywhere.mean())


@pytest.mark.parametrize("name", CERTIFIERS)
def test_bad_models(name) -> None:
    certifier, x, y = CERTIFIERS[name](), torch.rand(2, 256), torch.tensor([0, 1])
    perturbations = Perturbations(norm="l2", eps=BUDGETS)
    for bad in (certifier, lambda model, x, *_: SpectralPair()(model, x)):
        with pytest.raises(Unsupported, match=r"Fourier has no parameter 'conv\.weight'"):
            bad(Fourier(), x, y, perturbations, torch.Generator())
        model = ConvNet()
        with torch.no_grad():
            model.linear.weight[0, 0] = math.nan
        with pytest.raises(WeightsError, match=r"'linear\.weight'"):
            bad(model, x, y, perturbations, torch.Generator())
    model = ConvNet()
    model.conv = nn.Conv2d(2, 6, 5)
    with pytest.raises(Unsupported, match="does not convolve one-channel images"):
        certifier(model, x, y, perturbations, torch.Generator())
