"""Images at a known distance from a plane, and the attacks on them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel
from qbench_art import qbench_attacks

pytest.importorskip("art.attacks.evasion", reason="needs adversarial-robustness-toolbox")

SPECS = {spec.name: spec for spec in qbench_attacks()}
SIDE = 10  # ART's Square cannot do smaller images in l2
FEATURES = SIDE * SIDE
SLOPE = 0.5
# |w·x| / dual norm, for w = SLOPE everywhere: the nearest points of both norms are the same
DISTANCE = {"linf": 0.05, "l2": 0.05 * SIDE}


class Plane(nn.Module):
    """Class 1 where the mean pixel is above `middle`, else class 0; the others never win."""

    def __init__(self, classes=4, middle=0.5):
        super().__init__()
        self.w = nn.Parameter(torch.full((FEATURES,), SLOPE))
        self.middle = middle
        self.rest = torch.linspace(-30.0, -20.0, classes - 2)

    def forward(self, x):
        score = (x - self.middle) @ self.w
        rest = self.rest.to(x).expand(len(x), -1)
        return torch.cat([torch.zeros_like(score)[:, None], score[:, None], rest], 1)


def images(low=-1.0):
    """Two images of class 1 and one of class 0, each at DISTANCE from the other class."""
    texture = torch.rand(3, FEATURES, generator=torch.Generator().manual_seed(5)) * 0.2
    sides = torch.tensor([[1.0], [1.0], [low]])
    x = 0.5 + texture - texture.mean(1, keepdim=True) + sides * DISTANCE["linf"]
    return x, torch.tensor([1, 1, 0])


X, Y = images()

# How far beyond the distance each attack needs the ball to be, by norm. Gradient attacks go there
# straight; random walks come as near as their budget allows. ART's Square never puts a square on
# the last row or column, and moves zero-sum waves in l2.
BEYOND = {
    "art-fgm": 1.01,
    "art-pgd": 1.02,
    "art-autopgd": 1.02,
    "art-square": {"linf": 1.6, "l2": 8.0},
    "art-deepfool": 1.01,
    "art-cw-l2": 1.05,
    "art-cw-linf": {"linf": 1.1, "l2": 1.3},
    "art-ead": 1.05,
    "art-boundary": {"linf": 2.0, "l2": 1.3},
    "art-hopskipjump": 1.3,
    "art-zoo": 1.1,
    "art-auto": 1.02,
    "art": 1.02,
}


def attack(name, **params):
    spec = SPECS[name]
    return spec.resolve()(**{**spec.params, **params})


# A plane needs fewer steps of a long search than an image does.
ENOUGH = {"art-boundary": 100, "art-ead": 50, "art-hopskipjump": 15}


def short(name, norm):
    """The attack, with no more steps than a plane needs in ℓ2, where long searches look."""
    return attack(name, max_iter=ENOUGH[name]) if name in ENOUGH and norm == "l2" else attack(name)


def fooled(name, norm, factor, *, box=(0.0, 1.0), targeted=False, classes=4):
    model = Plane(classes)
    threat = ThreatModel(norm=norm, eps=DISTANCE[norm] * factor, box=box, targeted=targeted)
    crafted = craft(short(name, norm), model, X, 1 - Y if targeted else Y, threat, seed=0)
    assert crafted.x_adv.shape == X.shape
    assert crafted.x_adv.dtype == torch.float32
    return (model(crafted.x_adv).argmax(1) != Y).tolist()


def beyond(name, norm):
    factor = BEYOND[name]
    return factor[norm] if isinstance(factor, dict) else factor
