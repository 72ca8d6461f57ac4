"""Each flag is raised by a model built to raise it, and by no honest one."""

import numpy as np
import pytest
import torch
from torch import nn

import qbench
from qbench.crafting import TimeoutExceededError, craft
from qbench.datasets.base import Split
from qbench.diagnosing import Evidence, diagnose
from qbench.scoring import score
from qbench.specs import ThreatModel
from qbench_attacks.gradient import PGD

THREAT = ThreatModel(norm="linf", eps=0.1)
PARAMS = {"steps": 20, "restarts": 1}


class Linear(nn.Module):
    """Class 1 where the mean pixel exceeds ½."""

    def forward(self, x):
        score = 8 * (x.mean(1) - 0.5)
        return torch.stack([-score, score], 1)


def images(n=60, features=16):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    x = 0.5 * torch.rand(n, features, generator=generator) + 0.5 * labels[:, None]
    return Split(x, labels)


def flags(model, evidence=None, split=None, params=PARAMS, attack=PGD, **changes):
    split = split or images()

    def make(**more):
        return attack(**{**params, **changes, **more})

    if evidence is None:
        evidence = []
        if attack is not None:
            x_adv = craft(make(), model, split.x, split.y, THREAT, 1).x_adv
            robust = score(model, split.x, x_adv, split.y).robust
            evidence = [Evidence("probed", THREAT.eps, True, None, robust)]
    found = diagnose(
        model, split, evidence, THREAT, attack and make, "probed", params, 0, time_limit_s=60
    )
    return set(found.flags), found.metrics.values


def test_an_honest_model_raises_no_flag():
    found, values = flags(Linear())
    assert found == set()
    assert values["large_eps"] == 0
    assert values["zero_gradients"] == values["unstable_outputs"] == 0


def test_the_zoos_convnet_is_honest_about_its_gradients():
    split = qbench.load_dataset().test
    found, _ = flags(qbench.load_model("convnet"), split=split)
    assert not found & {"zero-gradients", "unstable-outputs", "large-eps-not-chance"}


class Saturated(Linear):
    """Scores so large that the softmax, and with it the gradient, is exactly flat."""

    def forward(self, x):
        return 1e6 * super().forward(x)


class Quantised(Linear):
    """Scores rounded to steps: no gradient anywhere."""

    def forward(self, x):
        scores = super().forward(x)
        return (scores * 4).round() / 4 + 0 * scores


class Random(Linear):
    """Scores with fresh noise at every pass."""

    def forward(self, x):
        scores = super().forward(x)
        return scores + 0.01 * torch.randn_like(scores)


@pytest.mark.parametrize("model", [Saturated(), Quantised()])
def test_models_without_gradients_are_flagged(model):
    found, values = flags(model)
    assert {"zero-gradients", "large-eps-not-chance"} <= found
    assert values["zero_gradients"] > 0.9
    assert values["large_eps"] > 0.8  # a random start breaks a few


def test_a_model_cut_off_from_its_input_is_flagged():
    class Detached(Linear):
        def forward(self, x):
            return super().forward(x.detach())

    class Blind:
        def __init__(self, **params):
            pass

        def __call__(self, model, x, y, threat, generator):
            return x

    found, values = flags(Detached(), attack=Blind)
    assert "zero-gradients" in found
    assert values["zero_gradients"] == 1


def test_a_random_model_is_flagged():
    found, values = flags(Random())
    assert "unstable-outputs" in found
    assert values["unstable_outputs"] == 1


def test_a_budget_too_small_is_flagged():
    split = Split(torch.full((100, 1), 0.5), torch.zeros(100, dtype=torch.int64))
    model = nn.Module()
    # the loss is flat except near 0.59: one start in ten lands there
    model.forward = lambda x: torch.stack(
        [0.5 - 50 * (x[:, 0] - 0.58).clamp_min(0), torch.zeros(len(x))], 1
    )
    found, values = flags(model, split=split, steps=1)
    assert "restarts-gain" in found
    assert values["more_restarts"] < values["base"] - 0.01


def test_steps_that_make_it_worse_are_flagged():
    class Overshoots:
        """An attack that finds its way only when it takes few steps."""

        def __init__(self, steps, restarts):
            self.steps = steps

        def __call__(self, model, x, y, threat, generator):
            sign = 1 - 2 * y[:, None].to(x.dtype)
            return (x + sign * (threat.eps if self.steps <= 20 else 0)).clamp(0, 1)

    near = Split(torch.tensor([[0.45], [0.55]]).expand(2, 16), torch.tensor([0, 1]))
    found, values = flags(Linear(), attack=Overshoots, split=near)
    assert (values["base"], values["more_steps"]) == (0, 1)
    assert "steps-not-monotone" in found


def seen(attack, eps, share, *, gradient=True, source=None):
    return Evidence(attack, eps, gradient, source, np.arange(100) < 100 * share)


def test_evidence_that_agrees_raises_nothing():
    honest = [
        seen("pgd", 0.05, 0.8),
        seen("pgd", 0.1, 0.4),
        seen("square", 0.1, 0.45, gradient=False),
        seen("pgd", 0.1, 0.9, source="other"),
    ]
    assert flags(Linear(), honest)[0] == set()


@pytest.mark.parametrize(
    ("evidence", "flag"),
    [
        ([seen("pgd", 0.1, 0.4), seen("square", 0.1, 0.38, gradient=False)], "black-box-stronger"),
        ([seen("pgd", 0.1, 0.4), seen("pgd", 0.1, 0.3, source="other")], "transfer-stronger"),
        ([seen("pgd", 0.05, 0.4), seen("pgd", 0.1, 0.42)], "eps-not-monotone"),
    ],
)
def test_evidence_that_disagrees_is_flagged(evidence, flag):
    assert flags(Linear(), evidence)[0] == {flag}


def test_a_point_of_accuracy_is_tolerated():
    close = [
        seen("pgd", 0.05, 0.40),
        seen("pgd", 0.1, 0.41),
        seen("square", 0.1, 0.40, gradient=False),
        seen("pgd", 0.1, 0.40, source="other"),
    ]
    assert flags(Linear(), close)[0] == set()


def test_without_gradients_there_is_nothing_to_probe():
    found, values = flags(Linear(), attack=None)
    assert found == set()
    assert set(values) == {"unstable_outputs"}


def test_an_attack_that_never_ends_is_stopped_with_or_without_the_model():
    def asks(model, x, y, threat, generator):
        while True:
            model(x)

    def spins(model, x, y, threat, generator):
        while True:
            pass

    x, y = images().x, images().y
    for attack in (asks, spins):
        with pytest.raises(TimeoutExceededError, match="longer than its time limit"):
            craft(attack, Linear(), x, y, THREAT, 0, time_limit_s=0.2)
    # the clock is off afterwards
    craft(PGD(steps=2), Linear(), x, y, THREAT, 0, time_limit_s=60)
