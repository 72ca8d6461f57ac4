"""The losses: values by hand, invariances, and how they do with few classes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbench_attacks.losses import cross_entropy, dlr, margin, named, targeted_dlr

SCORES = torch.tensor([[0.5, 0.2, -0.1, -0.4], [0.1, 0.9, 0.3, 0.0]], dtype=torch.float64)
Y = torch.tensor([0, 2])


def test_values_by_hand():
    assert margin(SCORES, Y).tolist() == pytest.approx([-0.3, 0.6])
    assert dlr(SCORES, Y).tolist() == pytest.approx([-0.3 / 0.6, 0.6 / 0.8])
    # denominators: 0.5 − (−0.1 − 0.4)/2 and 0.9 − (0.1 + 0.0)/2
    towards = targeted_dlr(SCORES, Y, torch.tensor([3, 1]))
    assert towards.tolist() == pytest.approx([-0.9 / 0.75, 0.6 / 0.85])
    chance = torch.zeros(1, 4)
    assert cross_entropy(chance, torch.tensor([1])).tolist() == pytest.approx([math.log(4)])


def test_three_classes_take_the_mean_of_the_two_lowest():
    scores = torch.tensor([[0.5, 0.2, -0.1]], dtype=torch.float64)
    value = targeted_dlr(scores, torch.tensor([0]), torch.tensor([2]))
    assert value.item() == pytest.approx(-0.6 / (0.5 - 0.05))


def test_two_classes_take_the_margin():
    scores, y = torch.tensor([[0.5, 0.2], [0.5, 0.2]]), torch.tensor([0, 1])
    assert torch.equal(dlr(scores, y), margin(scores, y))
    assert torch.equal(targeted_dlr(scores, y, 1 - y), margin(scores, y))


@given(
    classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
    shift=st.floats(-5, 5),
    scale=st.floats(0.01, 100),
)
def test_dlr_changes_with_neither_shift_nor_scale(classes, seed, shift, scale):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(8, classes, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (8,), generator=generator)
    target = (y + 1) % classes
    other = scale * scores + shift
    if classes > 2:  # two classes use the margin, which a scale multiplies
        torch.testing.assert_close(dlr(other, y), dlr(scores, y))
        torch.testing.assert_close(targeted_dlr(other, y, target), targeted_dlr(scores, y, target))
    else:
        torch.testing.assert_close(dlr(other, y), scale * dlr(scores, y))
        torch.testing.assert_close(
            targeted_dlr(other, y, target), scale * targeted_dlr(scores, y, target)
        )


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
@pytest.mark.parametrize("name", ["ce", "margin", "dlr"])
def test_every_loss_has_a_gradient_that_pulls_the_label_down(name, classes):
    generator = torch.Generator().manual_seed(classes)
    scores = torch.randn(50, classes, generator=generator, dtype=torch.float64)
    scores.requires_grad_()
    y = scores.argmax(1)
    (gradient,) = torch.autograd.grad(named(name)(scores, y).sum(), scores)
    assert bool((gradient.gather(1, y[:, None]) < 0).all())


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_targeted_dlr_is_never_flat(classes):
    generator = torch.Generator().manual_seed(classes)
    scores = torch.randn(50, classes, generator=generator, dtype=torch.float64)
    scores.requires_grad_()
    y = scores.argmax(1)
    for step in range(1, classes):
        target = (y + step) % classes
        (gradient,) = torch.autograd.grad(targeted_dlr(scores, y, target).sum(), scores)
        assert bool((gradient.norm(dim=1) > 1e-3).all())


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_tie_of_all_scores_is_finite(classes):
    scores = torch.zeros(1, classes, requires_grad=True)
    y, target = torch.tensor([0]), torch.tensor([1])
    for losses in (dlr(scores, y), targeted_dlr(scores, y, target)):
        (gradient,) = torch.autograd.grad(losses.sum(), scores)
        assert losses.item() == 0
        assert bool(torch.isfinite(gradient).all())


def test_an_unknown_loss_is_refused():
    with pytest.raises(
        ValueError, match="loss must be one of ce, rescaled-ce, margin, dlr, got 'mse'"
    ):
        named("mse")
