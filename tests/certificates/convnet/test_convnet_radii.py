"""Radii of the convolutional network: planes below pooled values, slopes, and a search."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_search import least_margin
from small_convnet import BUDGETS, SCALES, small
from torch import nn

from qbench.errors import Unsupported, WeightsError
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm
from qbench.evaluation.radii import certify_images
from qbench.specs import Perturbations
from qbench_certificates.convnet.linear import Linear
from qbench_certificates.convnet.network import WindowNetwork
from qbench_certificates.convnet.spectral_pair import LocalSlope, SpectralPair
from qbench_classical.models import ConvNet, Fourier

CERTIFIERS = {"linear": Linear, "local": LocalSlope, "searched": partial(Linear, nodes=30)}
seeds = st.integers(0, 2**31)


def _radii(name, model, x, y, norm, box=(0.0, 1.0)):
    perturbations = Perturbations(norm=norm, eps=BUDGETS, box=box)
    found, _ = certify_images(CERTIFIERS[name](), model, x, y, perturbations, torch.Generator())
    return found.radius, perturbations


@pytest.mark.parametrize(("side", "size"), [(6, 3), (7, 3), (9, 5), (8, 4)])
def test_windows_are_the_network(side: int, size: int, randomise) -> None:
    model = randomise(small(side=side, size=size), 0, SCALES)
    network = WindowNetwork.read(model)
    x = torch.rand(4, side**2, dtype=torch.float64)
    a = network.outputs(x)
    scores = a.amax(-1).clamp(min=0) @ network.weight.mT + network.offset
    torch.testing.assert_close(scores, model(x))
    difference = torch.einsum("jwp,np->njw", network.matrix, x[1:] - x[:1])
    torch.testing.assert_close(difference, a[1:] - a[:1])


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
    model = randomise(small(channels), seed, SCALES)
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
    model = randomise(small(channels=1, classes=2), 3, SCALES)
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
    model = randomise(small(3), 5, SCALES)
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
    model = randomise(small(side=side), seed, SCALES)
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
    model = randomise(small(channels=1, side=4, classes=2), 0, SCALES)
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
    model = randomise(small(), 2, SCALES)
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
