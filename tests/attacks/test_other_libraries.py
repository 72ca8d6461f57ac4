"""Other people's attacks as a check: our worst case is never more than one point weaker.

Needs foolbox 3.3.4 (`pip install foolbox`) and torchattacks 3.5.1 (`pip install --no-deps`).
"""

from __future__ import annotations

import warnings

import pytest
import torch
from known_models import broken
from torch import nn

import qbench
from qbench.evaluation.crafting import craft, frozen
from qbench.geometry import project
from qbench.specs import ThreatModel
from qbench_attacks.apgd import APGD, APGDTargeted
from qbench_attacks.fab import FAB
from qbench_attacks.gradient import PGD
from qbench_attacks.square import Square
from qbench_attacks.standard import Standard

pytestmark = pytest.mark.slow

EPS, SLACK = 0.1, 0.01
THREAT = ThreatModel(norm="linf", eps=EPS)


@pytest.fixture(scope="module", params=["convnet", "reup"])
def case(request):
    test = qbench.load_dataset("glyphs").test
    return qbench.load_model(request.param), test.x[:100], test.y[:100]


class Pictures(nn.Module):
    """Takes (n, 1, 16, 16), as torchattacks wants."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.flatten(1))


def ours(attack, model, x, y):
    return 1 - broken(model, craft(attack, model, x, y, THREAT, 0).x_adv, y).float().mean().item()


def theirs(model, x, y, x_adv):
    """Their accuracy, after the same check as ours: what lies outside by rounding is pulled in."""
    x_adv = project(x_adv.detach().reshape(x.shape), x, THREAT)
    return 1 - broken(model, x_adv, y).float().mean().item()


def foolbox_accuracy(make, case):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    model, x, y = case
    torch.manual_seed(0)
    with frozen(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        _, x_adv, _ = make(foolbox)(wrapped, x, y, epsilons=EPS)
    return theirs(model, x, y, x_adv)


def torchattacks_accuracy(make, case):
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    model, x, y = case
    with frozen(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack = make(torchattacks, Pictures(model))
        x_adv = attack(x.view(-1, 1, 16, 16), y)
    return theirs(model, x, y, x_adv)


def test_pgd_against_foolbox(case):
    # foolbox's default step is a share of ε that does not reach the border in few steps
    other = foolbox_accuracy(
        lambda fb: fb.attacks.LinfPGD(rel_stepsize=2.5 / 40, steps=40, random_start=True), case
    )
    assert ours(PGD(), *case) <= other + SLACK


@pytest.mark.parametrize(
    ("mine", "make"),
    [
        (APGD(steps=100), lambda ta, m: ta.APGD(m, eps=EPS, steps=100, loss="ce", seed=0)),
        (
            APGD(loss="dlr", steps=100),
            lambda ta, m: ta.APGD(m, eps=EPS, steps=100, loss="dlr", seed=0),
        ),
        (
            APGDTargeted(steps=100),
            lambda ta, m: ta.APGDT(m, eps=EPS, steps=100, n_classes=4, seed=0),
        ),
        (FAB(steps=100), lambda ta, m: ta.FAB(m, eps=EPS, steps=100, n_classes=4, seed=0)),
        (
            Square(queries=2000),
            lambda ta, m: ta.Square(m, eps=EPS, n_queries=2000, seed=0),
        ),
    ],
    ids=["apgd-ce", "apgd-dlr", "apgd-t", "fab", "square"],
)
def test_one_attack_against_torchattacks(mine, make, case):
    other = torchattacks_accuracy(make, case)
    assert ours(mine, *case) <= other + SLACK


def test_the_worst_case_against_the_worst_case_of_torchattacks(case):
    parts = [
        lambda ta, m: ta.APGD(m, eps=EPS, steps=100, n_restarts=3, loss="ce", seed=0),
        lambda ta, m: ta.APGDT(m, eps=EPS, steps=100, n_classes=4, seed=0),
        lambda ta, m: ta.FAB(m, eps=EPS, steps=100, n_classes=4, seed=0),
        lambda ta, m: ta.Square(m, eps=EPS, n_queries=2000, seed=0),
    ]
    best = min(torchattacks_accuracy(make, case) for make in parts)
    assert ours(Standard(), *case) <= best + SLACK
