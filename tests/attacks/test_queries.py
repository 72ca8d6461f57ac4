"""Attacks without gradients: what they may ask, and that they find what can be found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import LabelsOnly, ScoresOnly, broken, linear, network, run

from qbench_attacks.hopskipjump import HopSkipJump
from qbench_attacks.spsa import SPSA
from qbench_attacks.square import Square, bump_pair, grid, window

BLIND = [Square(queries=300), SPSA(steps=15), HopSkipJump(steps=4)]
NAMES = ["square", "spsa", "hopskipjump"]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", BLIND, ids=NAMES)
def test_no_gradient_is_asked_for(attack, norm):
    model, x, y = network(3)
    crafted = run(attack, ScoresOnly(model), x, y, norm=norm, eps=0.4)
    assert crafted.gradient == 0
    assert bool(broken(model, crafted.x_adv, y).any())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_hopskipjump_sees_labels_only(norm):
    model, x, y = network(4)
    with_scores = run(HopSkipJump(steps=3), model, x, y, norm=norm, eps=0.5).x_adv
    with_labels = run(HopSkipJump(steps=3), LabelsOnly(model), x, y, norm=norm, eps=0.5).x_adv
    assert torch.equal(with_scores, with_labels)
    assert bool(broken(model, with_labels, y).any())


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(
    ("attack", "ratios"),
    # In ℓ2 Square's bumps are three pixels wide at least, on an image of four.
    [
        (Square(queries=1500), {"linf": 1.1, "l2": 3}),
        (SPSA(steps=60, samples=64), {"linf": 1.15, "l2": 1.2}),
    ],
    ids=["square", "spsa"],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_model_breaks_a_little_beyond_its_distance(attack, ratios, norm, classes):
    model, x, y = linear(classes, features=16)
    exact = model.distances(x, y, norm)
    for row in (0, 7):
        near, far = exact[row].item() * 0.98, exact[row].item() * ratios[norm]
        one, label = x[row : row + 1], y[row : row + 1]
        kept = run(attack, model, one, label, norm=norm, eps=near, box=None).x_adv
        assert not bool(broken(model, kept, label))
        found = run(attack, model, one, label, norm=norm, eps=far, box=None).x_adv
        assert bool(broken(model, found, label))


@pytest.mark.parametrize("attack", [Square(queries=1000), SPSA(steps=40)], ids=["square", "spsa"])
def test_a_class_is_reached(attack):
    model, x, y = linear(4, features=16)
    goal = (y + 1) % 4
    x_adv = run(attack, model, x, goal, eps=2.0, box=None, targeted=True).x_adv
    assert torch.equal(model(x_adv).argmax(1), goal)


@settings(max_examples=30)
@given(
    features=st.integers(1, 50),
    norm=st.sampled_from(["linf", "l2"]),
    seed=st.integers(0, 100),
)
def test_square_takes_any_number_of_features(features, norm, seed):
    model, x, y = network(3, features=features)
    crafted = run(Square(queries=25), model, x, y, norm=norm, eps=0.3, seed=seed)  # verified
    assert crafted.forward <= 25 * len(x)


def test_square_sees_a_picture_where_there_is_one_and_else_a_line():
    assert grid(256) == (16, 16)
    assert grid(12) == (1, 12)
    assert window(0.8, 16, 16) == (14, 14)  # √(.8·256) = 14.3
    assert window(0.8, 1, 12) == (1, 10)  # .8·12 = 9.6
    assert window(0.001, 16, 16) == window(0.001, 1, 12) == (1, 1)


@pytest.mark.parametrize("shape", [(5, 5), (4, 4), (1, 9), (1, 1), (2, 1), (3, 3)])
def test_a_pair_of_bumps_has_length_one_and_both_signs(shape):
    bump = bump_pair(*shape)
    assert bump.shape == shape
    assert bump.norm().item() == pytest.approx(1)
    if bump.numel() > 1:
        assert bool((bump > 0).any()) and bool((bump < 0).any())  # noqa: PT018


def test_square_in_linf_uses_the_whole_budget_and_stops_when_it_wins():
    model, x, y = network(3)
    crafted = run(Square(queries=200), model, x, y, eps=0.2, box=None)
    moved = (crafted.x_adv - x).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.2))
    assert crafted.forward < 200 * len(x)


def test_hopskipjump_leaves_an_image_that_no_start_breaks():
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.stack([0 * x[:, 0] + 1, 0 * x[:, 0]], 1)

    x, y = torch.rand(3, 6), torch.zeros(3, dtype=torch.long)
    assert torch.equal(run(HopSkipJump(steps=2), Constant(), x, y).x_adv, x)
