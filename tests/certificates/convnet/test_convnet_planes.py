"""The planes below pooled values, and their ascent: each against points, and by numpy alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_convnet import dual, question

from qbench_certificates.convnet import ascent, kernel, planes

seeds = st.integers(0, 2**31)


def _random_unit(seed: int):
    rng = np.random.default_rng(seed)
    rows, a, s = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=4)
    low, high = -rng.random(3), rng.random(3)
    low[rng.random(3) < 0.3] = 0.0
    return rng, rows, a, s, low, high


def _drawn(rng, low, high, radius):
    """Points of the region; of a box without a ball, its corners, too."""
    drawn = low + rng.random((3000, len(low))) * (high - low)
    if math.isinf(radius):
        drawn = np.vstack([drawn, list(itertools.product(*zip(low, high, strict=True)))])
    return drawn * np.minimum(1, radius / np.maximum(np.linalg.norm(drawn, axis=1), 1e-12))[:, None]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([math.inf, 0.4, 1.0]))
def test_the_plane_lies_below_a_pooled_value(seed, radius) -> None:
    rng, rows, a, _, low, high = _random_unit(seed)
    plane, v = rng.normal(size=3), -1.5
    around = low, high, radius
    spans = kernel.spans(rows[None], np.arange(3)[None], a[None], *around)
    alive = kernel.contenders(rows[None], np.arange(3)[None], a[None], *spans, *around)[0]
    room, point = np.empty(3), np.empty(3)
    least = planes.concave(v, plane, rows, a, *around, alive, room, point)
    drawn = _drawn(rng, *around)
    largest = np.maximum((a + drawn @ rows.T).max(1), 0)
    values = v * largest - drawn @ plane
    assert least <= values.min() + 1e-9
    # The point lies in the region and takes the value; of a box, the concave function's corner.
    assert ((low - 1e-12 <= point) & (point <= high + 1e-12)).all()
    assert np.linalg.norm(point) <= radius * (1 + 1e-12)
    there = v * max(0.0, (a + rows @ point).max()) - plane @ point
    assert least == pytest.approx(there, rel=2e-3)
    if math.isinf(radius):
        assert least == pytest.approx(values.min(), abs=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([math.inf, 0.4, 1.0]))
def test_the_plane_over_outputs_lies_below_and_no_winner_is_left_out(seed, radius) -> None:
    rng, rows, a, s, low, high = _random_unit(seed)
    around, reached = (low, high, radius), np.empty(4)
    spans = kernel.spans(rows[None], np.arange(3)[None], a[None], *around)
    lower, upper = spans[0][0], spans[1][0]
    least = planes.convex(1.5, s, lower, upper, reached)
    outputs = a + _drawn(rng, *around) @ rows.T
    assert (outputs >= lower - 1e-9).all()
    assert (outputs <= upper + 1e-9).all()
    assert least <= (1.5 * np.maximum(outputs.max(1), 0) - outputs @ s).min() + 1e-9
    assert least == pytest.approx(1.5 * max(0, reached.max()) - s @ reached, abs=1e-9)
    assert ((lower - 1e-9 <= reached) & (reached <= upper + 1e-9)).all()
    winner = np.where(outputs.max(1) > 0, outputs.argmax(1), 4)
    few = kernel.contenders(rows[None], np.arange(3)[None], a[None], *spans, *around)[0]
    assert few[winner].all()
    assert kernel.winners(*spans)[0][few].all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds)
def test_the_least_over_a_box_of_outputs_is_exact(seed) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.normal(size=4)
    upper, s = lower + 2 * rng.random(4), rng.normal(size=4)
    reached = np.empty(4)
    least = planes.convex(1.3, s, lower, upper, reached)
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


def _ascend(problem, alive, enough, steps, gap=0.0):
    """The bound, and the slopes that it was found at."""
    slopes = problem.start()
    mean = np.full_like(problem.low, np.nan)  # what memory held before must not matter
    bound = ascent.ascend(*problem, alive, *slopes, enough, gap, steps, mean)
    assert np.isfinite(mean).all()
    return bound, *slopes


def _least_margin(network, x, region, count=400):
    points = region.low + torch.rand(count, 36, dtype=torch.float64) * (region.high - region.low)
    points *= (float(region.radius) / points.norm(dim=1, keepdim=True)).clamp(max=1)
    scores = network.scores(x + points)
    return float((scores[:, 0] - scores[:, 1]).min())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 0.6))
def test_the_compiled_margin_is_the_networks_and_descents_follow_its_gradient(
    seed, norm, radius, randomise
) -> None:
    problem, _, network, x, _ = question(seed, norm, radius, randomise)
    v, constant, rows, patches, a, _, _, low, high, ball = problem
    rng = np.random.default_rng(seed)
    delta, outputs = low + rng.random(36) * (high - low), np.empty_like(a)
    delta *= min(1.0, ball / np.linalg.norm(delta))
    moved = torch.from_numpy(delta.copy()).requires_grad_()
    scores = network.scores(x + moved)[0]
    (gradient,) = torch.autograd.grad(scores[0] - scores[1], moved)
    expected = float((scores[0] - scores[1]).detach())
    found = planes.margin(v, constant, rows, patches, a, delta, outputs)
    assert found == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(outputs, network.outputs(x + moved.detach())[0], atol=1e-9)
    # Downhill, each window keeps its winner: the gradient of the margin decides every pixel.
    planes.downhill(v, rows, patches, outputs, low, high, ball, delta)
    point = np.empty(36)
    kernel.support(-gradient.numpy(), low, high, ball, point)
    np.testing.assert_allclose(delta, point, atol=1e-9)
    assert max((delta - high).max(), (low - delta).max()) <= 1e-12
    assert np.linalg.norm(delta) <= ball * (1 + 1e-9)
    # What refutes is a point of the region.
    there = planes.margin(v, constant, rows, patches, a, delta, outputs)
    about = v, constant, rows, patches, a, low, high, ball
    assert planes.refutes(*about, there, delta.copy())
    assert not planes.refutes(*about, -1e6, delta)
    assert max((delta - high).max(), (low - delta).max()) <= 1e-12


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 0.6))
def test_the_bound_follows_from_its_slopes_and_no_point_is_below(
    seed, norm, radius, randomise
) -> None:
    problem, alive, network, x, region = question(seed, norm, radius, randomise)
    first, *slopes = _ascend(problem, alive, 1e6, 0)
    assert first == -np.inf or first == pytest.approx(dual(problem, alive, *slopes), abs=1e-9)
    least = _least_margin(network, x, region)
    for enough in (least - 1e-9, least - 0.3):
        found, *slopes = _ascend(problem, alive, enough, 60)
        if found > -np.inf:
            assert found == pytest.approx(dual(problem, alive, *slopes), abs=1e-9)
            assert found <= least + 1e-9
            start = dual(problem, alive, *problem.start())
            assert found >= start - 1e-9
    # A bound holds for other slopes, too.
    rng = np.random.default_rng(seed)
    slopes = [s + rng.normal(size=s.shape) * 0.1 for s in problem.start()]
    assert dual(problem, alive, *slopes) <= least + 1e-9
