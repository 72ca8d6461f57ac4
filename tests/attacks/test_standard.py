"""The ensemble: never behind its parts, not fooled by flat scores, no work on what is broken."""

from __future__ import annotations

import pytest
import torch
from known_models import broken, network, run
from torch import nn

import qbench
from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel
from qbench_attacks import transferred
from qbench_attacks.apgd import APGD, APGDTargeted
from qbench_attacks.fab import FAB
from qbench_attacks.rounds import Rounds
from qbench_attacks.square import Square
from qbench_attacks.standard import Standard

QUICK = {"apgd_steps": 10, "fab_steps": 8, "probe": 20, "queries": 60, "jumps": 2, "rounds": 1}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.25)])
def test_it_breaks_whatever_a_part_breaks(norm, eps, classes, seed):
    model, x, y = network(classes, seed=seed)
    ensemble = Standard(**QUICK, near=1)
    together = broken(model, run(ensemble, model, x, y, norm=norm, eps=eps, seed=seed).x_adv, y)
    parts = [
        APGD(loss="rescaled-ce", steps=10),
        APGD(loss="dlr", steps=10),
        APGDTargeted(steps=10),
        FAB(steps=8),
        Square(queries=20),
    ]
    alone = [
        broken(model, run(part, model, x, y, norm=norm, eps=eps, seed=seed).x_adv, y)
        for part in parts
    ]
    assert bool((together | ~torch.stack(alone).any(0)).all())
    assert 0 < together.sum() < len(x)


def test_misclassified_images_cost_one_pass():
    model, x, y = network(4)
    crafted = run(Standard(), model, x, (y + 1) % 4)
    assert (crafted.forward, crafted.gradient) == (len(x), 0)
    assert torch.equal(crafted.x_adv, x)


def test_images_broken_by_the_first_part_cost_one_check_more():
    model, x, y = network(4)
    crafted = run(Standard(apgd_steps=20), model, x, y, eps=0.9)  # the first part breaks them all
    assert (crafted.forward, crafted.gradient) == (23 * len(x), 20 * len(x))


def test_only_the_standing_are_worked_on():
    model, x, y = network(4)
    y[10:] = (y[10:] + 1) % 4  # ten of twenty are misclassified as they are
    crafted = run(Standard(**QUICK), model, x, y, eps=1e-6)  # and nothing else breaks
    # Far from the boundary: two ascents, a look of the restarts, and the short Square.
    assert (crafted.forward, crafted.gradient) == (20 + 10 * (2 * 11 + 1 + 20), 10 * 2 * 10)


class Wrapped(nn.Module):
    """A model whose answers go through a function; it may be asked for a gradient or not."""

    def __init__(self, model, answer):
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, x):
        return self.answer(x, self.model(x))


def some_nan(x, z):
    """NaN gradients, in two entries, of every other image by its brightness."""
    bright = x.detach().mean(1, keepdim=True) > 0.16
    flat = (x[:, :2] - x[:, :2]).abs().sum(1, keepdim=True).sqrt() * torch.ones_like(z)
    return torch.where(bright, z + flat * z, z)


def without_tensors(x, z):
    return torch.from_numpy(z.detach().numpy().copy())


def hot_softmax(x, z):
    e = torch.exp(50 * (z - z.amax(1, keepdim=True)))
    return e / e.sum(1, keepdim=True)


def in_inference(x, z):
    with torch.no_grad():
        return z * 1


TRICKS = {
    "softmax": lambda x, z: torch.softmax(100 * z, 1),
    "log of softmax": lambda x, z: torch.softmax(30 * z, 1).log().clamp_min(-50),
    "own softmax": hot_softmax,
    "sigmoid": lambda x, z: torch.sigmoid(20 * z - 200),
    "rounded": lambda x, z: (4 * z).round() / 4,
    "nan": lambda x, z: z + torch.sqrt((x[:, :1] - x[:, :1]).abs()),
    "nan in the product": lambda x, z: z * (1 + torch.sqrt((x[:, :4] - x[:, :4]).abs())),
    "some nan": some_nan,
    "detached": lambda x, z: z.detach(),
    "numpy": without_tensors,
    "no_grad": in_inference,
    "reversed": lambda x, z: 2 * z.detach() - z,
    "half rounded": lambda x, z: z.detach() + 0 * z,
}


@pytest.fixture(scope="module")
def convnet():
    test = qbench.load_dataset("glyphs").test
    return qbench.load_model("convnet", seed=1), test.x[:40], test.y[:40]


SHORT = {
    "apgd_steps": 20,
    "fab_steps": 10,
    "probe": 60,
    "queries": 1000,
    "jumps": 2,
    "rounds": 2,
}


@pytest.fixture(scope="module")
def honest(convnet):
    model, x, y = convnet
    return int((~broken(model, run(Standard(**SHORT), model, x, y).x_adv, y)).sum())


OFTEN = {"softmax", "some nan", "detached"}  # the others take as long, and are tried with the slow


@pytest.mark.parametrize(
    "trick",
    [
        pytest.param(trick, id=name, marks=() if name in OFTEN else pytest.mark.slow)
        for name, trick in TRICKS.items()
    ],
)
def test_no_trick_on_the_scores_hides_a_model(trick, convnet, honest):
    inner, x, y = convnet
    model = Wrapped(inner, trick)
    left = (~broken(model, run(Standard(**SHORT), model, x, y).x_adv, y)).sum()
    assert honest < len(x) - 10  # there is something to find
    assert left <= honest + 2, (int(left), honest)


@pytest.mark.parametrize("part", [transferred.Transferred, Square])
def test_where_gradients_are_missing_other_parts_take_over(part, convnet, monkeypatch):
    ran = []
    inner, x, y = convnet
    whole = part.run
    monkeypatch.setattr(part, "run", lambda self, search: (ran.append(1), whole(self, search)))
    run(Standard(**SHORT), Wrapped(inner, without_tensors), x[:8], y[:8])
    assert len(ran) == (2 if part is Square else 1)
    ran.clear()
    run(Standard(**SHORT), inner, x[:8], y[:8])
    assert len(ran) == (1 if part is Square else 0)


def test_a_source_that_does_not_fit_is_left_out():
    model, x, y = network(4)
    crafted = run(transferred.Transferred(steps=2), model, x, y)
    assert torch.equal(crafted.x_adv, x)
    assert crafted.forward == len(x)


class Basins(nn.Module):
    """Class 1 wins only in a narrow well that lies off the way uphill, for a few starts."""

    def forward(self, x):
        far = (x - torch.tensor([0.57, 0.43])).abs().amax(1)
        well = 0.2 - 8 * (far - 0.02).clamp_min(0).clamp_max(0.03)
        lure = 0.1 - (x - torch.tensor([0.43, 0.57])).abs().sum(1)
        other = torch.maximum(well, lure)
        return torch.stack([torch.full_like(other, 0.15), other], 1)


def starts_taken(rounds, patience):
    """How many rounds are run on an image, seed by seed, and how often it is broken."""
    taken, fallen = [], 0
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    for seed in range(12):
        attack = Rounds(steps=8, rounds=rounds, patience=patience, near=1, targets=0)
        crafted = run(attack, Basins(), x, y, eps=0.1, seed=seed)
        fallen += int(broken(Basins(), crafted.x_adv, y))
        taken.append((crafted.forward - 1) / (9 * 2))
    return taken, fallen


def test_restarts_go_on_until_they_do_not_gain():
    once, by_one = starts_taken(1, 1)
    many, by_many = starts_taken(10, 3)
    assert set(once) == {1}
    assert by_many > by_one
    # An image that is broken is left at once, one that gains nothing after three rounds more.
    assert min(many) == 1
    assert 3 <= max(many) <= 10


def test_an_image_without_gain_is_left_after_patience():
    model, x, y = network(4)
    flat = Wrapped(model, lambda x, z: z.detach() + 0 * x.sum(1, keepdim=True))
    crafted = run(Rounds(steps=5, rounds=9, patience=2, near=1), flat, x, y, eps=1e-7)
    assert crafted.forward == len(x) * (1 + 2 * 4 * 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reup", "reup-0.1", "amplitude", "convnet", "fourier"])
def test_on_the_zoo_it_is_hardly_behind_a_single_attack(name):
    test = qbench.load_dataset("glyphs").test
    model, threat = qbench.load_model(name), ThreatModel(norm="linf", eps=0.1)

    def fallen(attack):
        return broken(model, craft(attack, model, test.x, test.y, threat, 0).x_adv, test.y)

    together = fallen(Standard())
    for part in (*Standard().parts, Square(queries=1000)):
        assert bool((together | ~fallen(part)).all())
