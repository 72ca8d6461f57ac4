"""Attacks on models whose exact robustness is known."""

import math

import pytest
import torch
from torch import nn

from qbench.evaluation.crafting import craft
from qbench.geometry import distance
from qbench.specs import ThreatModel
from qbench_attacks.gradient import FGSM, PGD


class Linear(nn.Module):
    """Two scores, 0 and w·(x - ½): class 1 where w·x > w·½."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x):
        score = (x - 0.5) @ self.w
        return torch.stack([torch.zeros_like(score), score], 1)


W = [0.3, -0.4, 0.0, 1.2]
X = torch.tensor([[0.6, 0.5, 0.5, 0.6], [0.5, 0.6, 0.5, 0.4]])  # w·(x-½) = 0.15, -0.16
Y = torch.tensor([1, 0])
DISTANCE = {"linf": (0.15 / 1.9, 0.16 / 1.9), "l2": (0.15 / 1.3, 0.16 / 1.3)}  # |w·x| / dual norm

ATTACKS = [PGD(), PGD(random_start=False), FGSM(), PGD(restarts=3, steps=40, decay=0.99)]


def fooled(attack, norm, eps, *, targeted=False):
    threat = ThreatModel(norm=norm, eps=eps, targeted=targeted)
    model = Linear(W)
    labels = 1 - Y if targeted else Y
    x_adv = craft(attack, model, X, labels, threat, seed=0).x_adv
    return (model(x_adv).argmax(1) != Y).tolist()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS, ids=["pgd", "pgd from x", "fgsm", "pgd restarts decay"])
def test_a_linear_model_breaks_exactly_beyond_its_distance(attack, norm, targeted):
    near, far = DISTANCE[norm]
    assert fooled(attack, norm, near * 0.97, targeted=targeted) == [False, False]
    assert fooled(attack, norm, math.sqrt(near * far), targeted=targeted) == [True, False]
    assert fooled(attack, norm, far * 1.03, targeted=targeted) == [True, True]


class Bump(nn.Module):
    """Class 1 only in a narrow valley, 0.445 < x < 0.465, which a step goes into and out of."""

    def forward(self, x):
        depth = 0.01 - (x[:, 0] - 0.455).abs()
        return torch.stack([-depth, depth], 1)


def test_best_keeps_a_step_that_fooled_and_last_does_not():
    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    threat = ThreatModel(norm="linf", eps=0.1)
    # steps of 0.05 from 0.5: 0.45 fools the model, then it overshoots to and fro
    last = PGD(steps=2, step=0.05, random_start=False, keep="last")
    best = PGD(steps=2, step=0.05, random_start=False, keep="best")
    assert Bump()(craft(best, Bump(), x, y, threat, 0).x_adv).argmax(1).item() == 1
    assert Bump()(craft(last, Bump(), x, y, threat, 0).x_adv).argmax(1).item() == 0


def test_a_step_that_fooled_is_kept_even_when_a_later_loss_is_larger():
    class Lure(nn.Module):
        """Three classes: a wrong one wins near 0.55; further on the loss is larger but y wins."""

        def forward(self, x):
            z = x[:, 0]
            wrong = (z < 0.56).float() * 0.1 * (z - 0.5).sign().clamp_min(0) + (z - 0.5)
            crowd = 3 * (z - 0.5)
            return torch.stack([crowd + 0.02, crowd + wrong - (z - 0.5), crowd], 1)

    x, y = torch.tensor([[0.505]]), torch.tensor([0])
    attack = PGD(steps=3, step=0.03, random_start=False)
    x_adv = craft(attack, Lure(), x, y, ThreatModel(norm="linf", eps=0.1), 0).x_adv
    assert Lure()(x_adv).argmax(1).item() == 1


def test_more_restarts_never_find_less():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 30), nn.Tanh(), nn.Linear(30, 3))
    x = torch.rand(200, 6)
    y = model(x).argmax(1)
    threat = ThreatModel(norm="linf", eps=0.15)
    broken = []
    for restarts in (1, 4):
        x_adv = craft(PGD(steps=5, restarts=restarts), model, x, y, threat, seed=3).x_adv
        broken.append(model(x_adv).argmax(1) != y)
    assert 0 < broken[0].sum() < 200
    assert bool((broken[1] | ~broken[0]).all())


def test_pgd_as_the_authors_run_it_ends_within_ten_steps_of_a_hundredth():
    x, y = torch.full((1, 4), 0.5), torch.tensor([1])
    attack = PGD(steps=10, step=0.01, random_start=False, keep="last")
    x_adv = craft(attack, Linear(W), x, y, ThreatModel(norm="linf", eps=0.2, box=None), 0).x_adv
    # downhill along the signs of w: ten steps of 0.01; a zero gradient does not move
    expected = torch.tensor([[0.4, 0.6, 0.5, 0.4]])
    torch.testing.assert_close(x_adv, expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_goes_to_the_sphere_in_one_gradient(norm):
    threat = ThreatModel(norm=norm, eps=0.05, box=None)
    crafted = craft(FGSM(), Linear(W), X, Y, threat, 0)
    torch.testing.assert_close(
        distance(crafted.x_adv, X, norm).float(), torch.full((2,), 0.05), rtol=1e-5, atol=0
    )
    assert (crafted.forward, crafted.gradient) == (4, 2)


def test_pgd_counts_one_gradient_a_step_and_one_forward_more():
    crafted = craft(PGD(steps=7, restarts=2), Linear(W), X, Y, ThreatModel(norm="linf", eps=0.1), 0)
    assert (crafted.forward, crafted.gradient) == (2 * 2 * 8, 2 * 2 * 7)
    assert PGD(steps=7, restarts=2).passes == (16, 14)


def test_the_generator_is_all_the_randomness():
    def run(seed):
        return craft(PGD(steps=3), Linear(W), X, Y, ThreatModel(norm="l2", eps=0.1), seed).x_adv

    torch.manual_seed(0)
    first = run(1)
    torch.manual_seed(99)
    assert torch.equal(first, run(1))
    assert not torch.equal(first, run(2))


def test_decaying_steps_add_up_to_a_geometric_series():
    x, y = torch.full((1, 4), 0.5), torch.tensor([1])
    attack = PGD(steps=3, step=0.04, decay=0.5, random_start=False)
    x_adv = craft(attack, Linear(W), x, y, ThreatModel(norm="linf", eps=0.2), 0).x_adv
    torch.testing.assert_close(x_adv, torch.tensor([[0.43, 0.57, 0.5, 0.43]]))


@pytest.mark.parametrize("bad", [{"steps": 0}, {"restarts": 0}, {"keep": "worst"}])
def test_parameters_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PGD(**bad)
