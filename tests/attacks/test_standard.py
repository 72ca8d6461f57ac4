"""The ensemble: never behind one of its parts, and no work on what is broken."""

from __future__ import annotations

import pytest
import torch
from known_models import broken, network, run
from torch import nn

import qbench
from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel
from qbench_attacks.apgd import APGD, APGDTargeted
from qbench_attacks.fab import FAB
from qbench_attacks.square import Square
from qbench_attacks.standard import Standard


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.25)])
def test_it_breaks_whatever_a_part_breaks(norm, eps, classes, seed):
    model, x, y = network(classes, seed=seed)
    ensemble = Standard(apgd_steps=10, fab_steps=8, queries=40)
    together = broken(model, run(ensemble, model, x, y, norm=norm, eps=eps, seed=seed).x_adv, y)
    parts = [
        APGD(steps=10),
        APGD(loss="dlr", steps=10),
        APGDTargeted(steps=10),
        FAB(steps=8),
        Square(queries=40),
    ]
    alone = [
        broken(model, run(part, model, x, y, norm=norm, eps=eps, seed=seed).x_adv, y)
        for part in parts
    ]
    assert torch.equal(together, torch.stack(alone).any(0))
    assert 0 < together.sum() < len(x)


def test_misclassified_images_cost_one_pass():
    model, x, y = network(4)
    crafted = run(Standard(), model, x, (y + 1) % 4)
    assert (crafted.forward, crafted.gradient) == (len(x), 0)
    assert torch.equal(crafted.x_adv, x)


def test_images_broken_by_the_first_part_cost_nothing_more():
    model, x, y = network(4)
    crafted = run(Standard(apgd_steps=20), model, x, y, eps=0.9)  # APGD-CE breaks them all
    assert (crafted.forward, crafted.gradient) == (22 * len(x), 20 * len(x))


class Steps(nn.Module):
    """Another model's scores in steps, so that its gradient is zero: only queries help."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return (self.model(x) * 20).round() / 20


def test_a_part_does_in_the_ensemble_what_it_does_alone():
    inner, x, _ = network(4)
    model = Steps(inner)
    y = model(x).argmax(1)
    ensemble = Standard(apgd_steps=3, fab_steps=3, queries=60)
    together = run(ensemble, model, x, y, eps=0.15, seed=4).x_adv
    left = torch.ones(len(x), dtype=torch.bool)
    for part in ensemble.parts[:-1]:
        left &= ~broken(model, run(part, model, x, y, eps=0.15, seed=4).x_adv, y)
    square = run(Square(queries=60), model, x, y, eps=0.15, seed=4).x_adv
    by_square = left & broken(model, square, y)
    assert by_square.sum() > 2
    assert torch.equal(together[by_square], square[by_square])


def test_only_the_standing_are_worked_on():
    model, x, y = network(4)
    y[10:] = (y[10:] + 1) % 4  # ten of twenty are misclassified as they are
    ensemble = Standard(apgd_steps=5, fab_steps=5, queries=20)
    crafted = run(ensemble, model, x, y, eps=1e-6)  # and nothing else breaks
    forward, gradient = ensemble.passes
    assert (crafted.forward, crafted.gradient) == (20 + 10 * (forward - 1), 10 * gradient)


def test_without_untargeted_dlr_the_parts_are_those_of_autoattack():
    names = [type(part).__name__ for part in Standard(untargeted_dlr=False).parts]
    assert names == ["APGD", "APGDTargeted", "FAB", "Square"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reup", "reup-0.1", "amplitude", "convnet", "fourier"])
def test_on_the_zoo_it_is_never_behind_a_single_attack(name):
    test = qbench.load_dataset("glyphs").test
    model, threat = qbench.load_model(name), ThreatModel(norm="linf", eps=0.1)

    def fallen(attack):
        return broken(model, craft(attack, model, test.x, test.y, threat, 0).x_adv, test.y)

    together = fallen(Standard())
    for part in Standard().parts:
        assert bool((together | ~fallen(part)).all())
