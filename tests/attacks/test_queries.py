"""Attacks without gradients: what they may ask, and that they find what can be found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import LabelsOnly, Recorder, ScoresOnly, broken, linear, network, run

from qbench.specs import ThreatModel
from qbench_attacks.hopskipjump import HopSkipJump
from qbench_attacks.spsa import SPSA
from qbench_attacks.square import Square, bump_pair, window

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


@pytest.mark.parametrize("classes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
@pytest.mark.parametrize(
    ("attack", "ratios"),
    # In ℓ2 Square's bumps are three pixels wide at least, on an image of four.
    [
        (Square(queries=500), {"linf": 1.1, "l2": 3}),
        (SPSA(steps=60, samples=64), {"linf": 1.15, "l2": 1.2}),
    ],
    ids=["square", "spsa"],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_model_breaks_a_little_beyond_its_distance(attack, ratios, norm, classes):
    breaks_a_little_beyond(attack, ratios[norm], norm, classes)


@pytest.mark.parametrize("classes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
@pytest.mark.parametrize(("norm", "ratio"), [("linf", 1.1), ("l2", 2)])
@pytest.mark.parametrize("shape", [(16,), (2, 8), (8, 2), (1, 16)])
def test_square_takes_tables_and_oblong_images(shape, norm, ratio, classes):
    ratio = 4 if shape == (8, 2) and norm == "l2" else ratio  # its bumps hold whole rows
    breaks_a_little_beyond(Square(queries=300), ratio, norm, classes, input_shape=shape)


def breaks_a_little_beyond(attack, ratio, norm, classes, **threat):
    model, x, y = linear(classes, features=16)
    exact = model.distances(x, y, norm)
    for row in (0, 7):
        near, far = exact[row].item() * 0.98, exact[row].item() * ratio
        one, label = x[row : row + 1], y[row : row + 1]
        kept = run(attack, model, one, label, norm=norm, eps=near, box=None, **threat).x_adv
        assert not bool(broken(model, kept, label))
        found = run(attack, model, one, label, norm=norm, eps=far, box=None, **threat).x_adv
        assert bool(broken(model, found, label))


class Flat(torch.nn.Module):
    """Always the same scores, so that no point is better than the first."""

    def forward(self, x):
        return 0 * x[:, :2] + torch.tensor([1.0, 0.0])


@pytest.mark.parametrize(("shape", "neighbours"), [((1, 40), True), ((40,), False)])
def test_the_features_of_a_table_have_no_order_for_square(shape, neighbours):
    asked, y = Recorder(Flat()), torch.zeros(1, dtype=torch.long)
    x = torch.rand(1, 40, generator=torch.Generator().manual_seed(0))
    run(Square(queries=2000, share=0.3), asked, x, y, box=None, input_shape=shape)
    start, *moved = asked.asked
    changed = [(point != start)[0].nonzero()[:, 0] for point in moved]
    several = [features for features in changed if len(features) > 1]
    assert len(several) > 10
    # a window is 12 features wide at most, and holds neighbours on a line only
    spans = [int(features.max() - features.min()) for features in several]
    assert (max(spans) < 12) == neighbours


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


def test_a_table_is_no_picture_and_where_nobody_says_a_square_number_is_one():
    assert ThreatModel(norm="linf", eps=0.1).image_shape(256) == (16, 16)
    assert ThreatModel(norm="linf", eps=0.1).image_shape(12) is None
    assert ThreatModel(norm="linf", eps=0.1, input_shape=(2, 8)).image_shape(16) == (2, 8)
    assert ThreatModel(norm="linf", eps=0.1, input_shape=(16,)).image_shape(16) is None


def test_windows_of_square():
    assert window(0.8, 16, 16) == (14, 14)  # √(.8·256) = 14.3
    assert window(0.8, 2, 8) == window(0.8, 8, 2) == (2, 2)
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
