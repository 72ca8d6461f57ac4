"""The exact ℓ2 attack on quadratic forms: against brute force, itself, and other attacks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import broken, forms, lengths, network, run

import qbench
from qbench.errors import Unsupported
from qbench_attacks.amplitude import AmplitudeExact, shortest_to_cone
from qbench_attacks.ddn import DDN
from qbench_attacks.fab import FAB
from qbench_attacks.gradient import PGD


def test_two_features_by_hand():
    # z_1² ≤ z_0² is the complement of a cone of ±45° around e_1: e_1 is 1/√2 away from it
    form = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    x = torch.tensor([[0.0, 1.0], [0.5, 1.0], [2.0, 1.0]], dtype=torch.float64)
    delta = shortest_to_cone(x, form)
    assert delta.norm(dim=1).tolist() == pytest.approx([math.sqrt(0.5), 0.5 / math.sqrt(2), 0])
    # the first one is the hard case: nothing along the lowest eigenvector
    assert (x + delta)[0].abs().tolist() == pytest.approx([0.5, 0.5])


def test_a_hard_case_with_a_double_lowest_eigenvalue():
    form = torch.diag(torch.tensor([-1.0, -1.0, 3.0], dtype=torch.float64))
    x = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64)
    delta = shortest_to_cone(x, form)
    # a cone with 3 z² = r²: tan of its angle to the axis is √3, so the distance is 2 sin 60°
    assert delta.norm().item() == pytest.approx(2 * math.sin(math.pi / 3))
    z = x + delta
    assert (z @ form @ z.T).item() == pytest.approx(0, abs=1e-12)


def test_what_is_inside_already_stays():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    form, x = raw + raw.T, torch.randn(40, 5, generator=generator, dtype=torch.float64)
    inside = torch.einsum("nf,fg,ng->n", x, form, x) < 0
    moved = shortest_to_cone(x, form).abs().amax(1)
    assert torch.equal(moved < 1e-14, inside)
    assert 0 < inside.sum() < 40


def test_a_definite_form_cannot_be_reached():
    x = torch.ones(1, 3, dtype=torch.float64)
    assert bool(torch.isinf(shortest_to_cone(x, torch.eye(3, dtype=torch.float64))).all())


@given(seed=st.integers(0, 10_000), features=st.integers(2, 4), rank=st.integers(1, 4))
def test_nothing_shorter_is_found_by_brute_force(seed, features, rank):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(features, min(rank, features), generator=generator, dtype=torch.float64)
    signs = torch.where(torch.rand(raw.shape[1], generator=generator) < 0.5, -1.0, 1.0).double()
    form = raw @ torch.diag(signs) @ raw.T
    x = torch.randn(1, features, generator=generator, dtype=torch.float64)
    value = (x @ form @ x.T).item()
    if value < 0:
        form = -form
    delta = shortest_to_cone(x, form)
    length = delta.norm()
    if torch.isfinite(length):
        z = x + delta
        assert (z @ form @ z.T).item() <= 1e-9 * max(1, abs(value))
        points = delta.norm() * (1 - 1e-6)
    else:
        points = x.norm()
    directions = torch.randn(20_000, features, generator=generator, dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    tried = x + points * directions * torch.rand(len(directions), 1, generator=generator).double()
    values = torch.einsum("nf,fg,ng->n", tried, form, tried)
    assert bool((values > -1e-9 * form.abs().max()).all())


@settings(max_examples=8)
@given(classes=st.sampled_from([2, 3, 4]), seed=st.integers(0, 1000))
def test_no_other_attack_finds_less(classes, seed):
    model = forms(classes, 8, seed)
    x = torch.rand(12, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = model(x).argmax(1)
    exact = run(AmplitudeExact(), model, x, y, norm="l2", eps=10.0, box=None)
    assert bool(broken(model, exact.x_adv, y).all()) or classes == 2
    least = lengths(exact, x, "l2")
    for attack in (DDN(steps=60), FAB(steps=30)):
        other = run(attack, model, x, y, norm="l2", eps=10.0, box=None)
        hit = broken(model, other.x_adv, y)
        assert bool((lengths(other, x, "l2")[hit] >= least[hit] * (1 - 1e-5)).all())
    shrunk = 0.99 * least.median().item()
    safe = least > shrunk
    pgd = run(PGD(steps=40, restarts=2), model, x, y, norm="l2", eps=shrunk, box=None)
    assert not bool(broken(model, pgd.x_adv, y)[safe].any())


@pytest.fixture(scope="module")
def zoo():
    test = qbench.load_dataset("glyphs").test
    return qbench.load_model("amplitude"), test.x[:50], test.y[:50]


def test_on_the_zoo_it_is_exact_both_ways(zoo):
    model, x, y = zoo
    if not hasattr(model, "quadratic_forms"):
        pytest.skip("amplitude models have no quadratic_forms()")
    exact = run(AmplitudeExact(), model, x, y, norm="l2", eps=10.0, box=None)
    assert bool(broken(model, exact.x_adv, y).all())
    least = lengths(exact, x, "l2")
    ddn = run(DDN(loss="margin"), model, x, y, norm="l2", eps=10.0, box=None)
    assert bool((lengths(ddn, x, "l2") >= least * (1 - 1e-4)).all())
    assert lengths(ddn, x, "l2").mean() <= 1.05 * least.mean()  # so it is no loose bound either


def test_with_the_box_what_it_keeps_is_adversarial(zoo):
    model, x, y = zoo
    if not hasattr(model, "quadratic_forms"):
        pytest.skip("amplitude models have no quadratic_forms()")
    boxed = run(AmplitudeExact(), model, x, y, norm="l2", eps=1.0)  # verified by craft
    free = run(AmplitudeExact(), model, x, y, norm="l2", eps=1.0, box=None)
    assert broken(model, boxed.x_adv, y).sum() <= broken(model, free.x_adv, y).sum()


def test_other_models_are_unsupported():
    model, x, y = network(3)
    with pytest.raises(Unsupported, match=r"needs a model with quadratic_forms\(\).*Sequential"):
        run(AmplitudeExact(), model, x, y, norm="l2")
