"""Minimum-norm attacks against exact distances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known_models import Recorder, broken, lengths, linear, network, run

from qbench.specs import ThreatModel
from qbench_attacks.ddn import DDN
from qbench_attacks.deepfool import DeepFool
from qbench_attacks.fab import FAB
from qbench_attacks.hopskipjump import HopSkipJump
from qbench_attacks.minimum import step_to_plane

BOXES = [None, (0.0, 1.0)]


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(
    ("attack", "norm", "slack"),
    [
        (FAB(steps=30), "linf", 1e-3),
        (FAB(steps=30), "l2", 1e-3),
        (DeepFool(), "linf", 1e-3),
        (DeepFool(), "l2", 1e-3),
        (DDN(loss="margin"), "l2", 0.02),
        (HopSkipJump(), "l2", 0.05),
        (HopSkipJump(), "linf", 0.05),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | float) else str(value),
)
def test_the_distance_of_a_linear_model_is_found(attack, norm, slack, classes):
    model, x, y = linear(classes)
    exact = model.distances(x, y, norm)
    crafted = run(attack, model, x, y, norm=norm, eps=0.2, box=None)
    assert bool(broken(model, crafted.x_adv, y).all())
    found = lengths(crafted, x, norm)
    assert bool((found >= exact * (1 - 1e-4)).all())
    ratio = (found - 1e-5) / exact
    if classes > 2 and isinstance(attack, HopSkipJump | DDN):
        # They may end at the boundary of another class than the nearest.
        assert ratio.median() <= 1 + slack
    else:
        assert bool((ratio <= 1 + slack).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_within_eps_what_comes_back_is_the_distance_and_beyond_it_the_ball(norm):
    model, x, y = linear(4)
    exact = model.distances(x, y, norm)
    eps = exact.median().item() * 1.001
    crafted = run(FAB(steps=20), model, x, y, norm=norm, eps=eps, box=None)
    near = exact < eps * 0.998
    assert torch.equal(broken(model, crafted.x_adv, y), exact < eps)
    torch.testing.assert_close(lengths(crafted, x, norm)[near], exact[near], rtol=2e-3, atol=1e-5)
    far = exact > eps
    torch.testing.assert_close(
        lengths(crafted, x, norm)[far], torch.full_like(exact[far], eps), rtol=1e-5, atol=0
    )


def test_an_image_misclassified_as_it_is_stays():
    model, x, y = linear(3)
    wrong = (y + 1) % 3
    for attack in (FAB(steps=3), DeepFool(), HopSkipJump(steps=2)):
        assert torch.equal(run(attack, model, x, wrong).x_adv, x)
    assert torch.equal(run(DDN(steps=3), model, x, wrong, norm="l2").x_adv, x)


def test_ddn_reaches_a_class():
    model, x, y = linear(4)
    goal = (y + 1) % 4
    x_adv = run(DDN(), model, x, goal, norm="l2", eps=3.0, box=None, targeted=True).x_adv
    assert torch.equal(model(x_adv).argmax(1), goal)


@given(
    norm=st.sampled_from(["linf", "l2"]),
    box=st.sampled_from(BOXES),
    seed=st.integers(0, 10_000),
    reach=st.floats(-1.5, 1.5),
)
def test_the_step_to_a_plane_is_the_shortest_in_the_box(norm, box, seed, reach):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 5, generator=generator, dtype=torch.float64)
    normal = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    normal[0, seed % 5] = 0
    gap = torch.tensor([reach], dtype=torch.float64)
    threat = ThreatModel(norm=norm, eps=1.0, box=box)
    delta = step_to_plane(x, normal, gap, threat)
    if box is not None:
        assert bool(((x + delta >= -1e-12) & (x + delta <= 1 + 1e-12)).all())
        # the farthest that any point of the box gets against gap·normal
        towards_high = -normal * gap.sign() > 0
        corner = torch.where(towards_high, 1 - x, -x)
        most = (corner * normal).abs().sum()
        if most < gap.abs():  # out of reach: the corner is as near as it gets
            torch.testing.assert_close((delta * normal).sum().abs(), most)
            return
    torch.testing.assert_close((delta * normal).sum(1), -gap)
    size = delta.abs().max() if norm == "linf" else delta.norm()
    # No shorter one does: a linear function over a ball cut by the box, maximised by bisection on
    # a multiplier (ℓ2) or coordinate by coordinate (ℓ∞), cannot reach the plane from inside.
    shorter = size * (1 - 1e-6)
    push = -normal * gap.sign()
    low = torch.full_like(x, -torch.inf) if box is None else -x
    high = torch.full_like(x, torch.inf) if box is None else 1 - x
    if norm == "linf":
        best = (push.sign() * shorter).clamp(low, high)
    else:
        small, large = 0.0, 1e6
        for _ in range(200):
            middle = (small + large) / 2
            best = (middle * push).clamp(low, high)
            small, large = (middle, large) if best.norm() < shorter else (small, middle)
        best = (small * push).clamp(low, high)
    assert (best * push).sum() < gap.abs() + 1e-12 or gap.abs() < 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_steps_and_restarts_find_nothing_longer(norm):
    model, x, y = network(4)
    few = lengths(run(FAB(steps=5), model, x, y, norm=norm, eps=5.0), x, norm)
    more = lengths(run(FAB(steps=40, restarts=2), model, x, y, norm=norm, eps=5.0), x, norm)
    assert bool((more <= few * (1 + 1e-2)).all())
    assert more.mean() < few.mean()


def test_fab_counts_its_passes():
    model, x, y = network(4)
    attack = FAB(steps=7, restarts=2, halvings=5)
    crafted = run(attack, model, x, y)
    assert (crafted.forward, crafted.gradient) == tuple(len(x) * k for k in attack.passes)
    assert attack.passes == (2 + 2 * 3 * 2 * 7 + 5, 3 * 2 * 7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_overshoots_the_plane_and_steps_back_from_a_hit(norm):
    model, x, y = linear(2)
    recorder = Recorder(model)
    run(FAB(steps=2), recorder, x, y, norm=norm, box=None)
    clean, first, beyond, back = recorder.asked[:4]
    assert torch.equal(first, clean)
    reach = model.distances(x, y, norm)
    size = (beyond - x).abs().amax(1) if norm == "linf" else (beyond - x).norm(dim=1)
    torch.testing.assert_close(size.double(), 1.05 * reach, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(back, x + 0.9 * (beyond - x))
