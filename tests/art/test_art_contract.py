"""What ART's attacks owe to qbench: determinism, counted queries, an unchanged model."""

from __future__ import annotations

import logging
import random

import numpy as np
import pytest
import torch
from art_plane import DISTANCE, FEATURES, SIDE, SPECS, Plane, X, Y, attack, beyond, images
from torch import nn

from qbench.errors import Unsupported, UsageError
from qbench.evaluation.crafting import craft
from qbench.evaluation.isolation import TimeoutExceededError, time_limit
from qbench.specs import ThreatModel
from qbench_art.attack import ArtAttack
from qbench_art.classifier import Classifier, View
from qbench_art.isolated_rng import isolated_rng

SLOW = ("art-boundary", "art-cw-l2", "art-cw-linf", "art-ead", "art-hopskipjump", "art-zoo")


@pytest.mark.parametrize("name", SPECS)
def test_the_generator_is_all_the_randomness_and_global_states_are_left_alone(name):
    def run(seed):
        threat = ThreatModel(norm="linf", eps=DISTANCE["linf"] * beyond(name, "linf"))
        cheap = {"max_iter": 10} if name in SLOW else {}
        return craft(attack(name, **cheap), Plane(), X, Y, threat, seed).x_adv

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    constructor = np.random.RandomState
    first = run(1)
    assert states() == before
    assert np.random.RandomState is constructor
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    assert torch.equal(first, run(1))


@pytest.mark.parametrize("name", ["art-pgd", "art-square"])
def test_another_seed_is_another_attack(name):
    threat = ThreatModel(norm="linf", eps=DISTANCE["linf"])
    short = attack(name, max_iter=1)
    first, second = (craft(short, Plane(), X, Y, threat, seed).x_adv for seed in (1, 2))
    assert not torch.equal(first, second)


def test_a_random_state_that_the_system_would_seed_follows_the_generator():
    def draw(seed):
        with isolated_rng(torch.Generator().manual_seed(seed)):
            states = [np.random.RandomState(), np.random.RandomState(), np.random.RandomState(3)]
            return [state.rand() for state in states]

    assert draw(0) == draw(0)
    assert draw(0)[:2] != draw(1)[:2]
    assert draw(0)[0] != draw(0)[1]
    assert draw(0)[2] == np.random.RandomState(3).rand()


def test_starts_come_from_images_of_another_class_when_noise_has_only_one():
    threat = ThreatModel(norm="l2", eps=1.5)
    model = Plane(middle=0.3)  # noise, with its mean near ½, is of class 1 like what is attacked
    x, y = images(low=-3.0)
    x = x - 0.2
    for name in ("art-boundary", "art-hopskipjump"):
        together = craft(attack(name, max_iter=10), model, x, y, threat, 0).x_adv
        assert (model(together).argmax(1) != y)[:2].all()
        alone = craft(attack(name, max_iter=10), model, x[:1], y[:1], threat, 0).x_adv
        assert torch.equal(alone, x[:1])


class Bumpy(nn.Module):
    """Scores that no gradient reaches."""

    def forward(self, x):
        return Plane()(x).detach()


def test_gradients_that_a_model_does_not_give_are_missed_in_one_line():
    threat = ThreatModel(norm="linf", eps=0.06)
    for cls in ("FastGradientMethod", "NewtonFool", "ProjectedGradientDescent"):
        with pytest.raises(Unsupported, match=r"^this attack needs gradients, which the model"):
            craft(ArtAttack(cls=cls), Bumpy(), X, Y, threat, 0)
    x_adv = craft(attack("art-hopskipjump"), Bumpy(), X, Y, threat, 0).x_adv
    assert (Bumpy()(x_adv).argmax(1) != Y).all()


def test_the_model_is_as_it_was_and_every_query_is_counted():
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(), nn.Linear(8, 3)).train()
    model[2].eval()
    model[0].bias.grad = torch.ones(8)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    model.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    threat = ThreatModel(norm="linf", eps=0.1)
    for name in SPECS:
        cheap = {"max_iter": 3} if "max_iter" in SPECS[name].params else {}
        seen.clear()
        crafted = craft(attack(name, **cheap), model, X, Y, threat, 0)
        assert crafted.forward == sum(seen)
        if SPECS[name].gradient:
            assert crafted.gradient > 0
        attack(name, **cheap)(model, X, Y, threat, torch.Generator())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    assert [p.grad is None for p in model.parameters()] == [True, False, True, True]
    assert [module.training for module in model.modules()] == [True, True, True, False]


def test_pgd_passes_what_it_says():
    # the clean scores, a gradient a step, and clean and final images once for ART's success rate
    threat = ThreatModel(norm="linf", eps=0.1)
    crafted = craft(attack("art-pgd", max_iter=7), Plane(), X, Y, threat, 0)
    assert (crafted.forward, crafted.gradient) == (3 * (1 + 7 + 2), 3 * 7)


def test_class_gradients_are_those_that_art_computes():
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, 3))
    ours = Classifier(model, X, 3, View(shape=(1, 10, 10)))
    x = X.numpy().reshape(-1, 1, SIDE, SIDE)
    for label in (None, 2, np.array([2, 0, 1])):
        arts = super(Classifier, ours).class_gradient(x, label)
        np.testing.assert_allclose(ours.class_gradient(x, label), arts, rtol=1e-5, atol=1e-8)


def test_queries_have_a_bound():
    threat = ThreatModel(norm="linf", eps=0.06)
    with pytest.raises(UsageError, match=r"^ART's SquareAttack has used its 9 queries an image"):
        craft(attack("art-square", max_queries=9), Plane(), X, Y, threat, 0)
    crafted = craft(attack("art-hopskipjump", max_queries=90), Plane(), X, Y, threat, 0)
    assert torch.equal(crafted.x_adv, X)
    assert crafted.forward <= 3 * (90 + 2)
    with pytest.raises(ValueError, match="max_queries must be at least 1"):
        ArtAttack(max_queries=0)


def test_a_search_that_never_ends_is_ended():
    class Fickle(Plane):
        """Fools once, then never again: HopSkipJump halves its step for ever."""

        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * (1 if self.calls % 40 else -1)

    threat = ThreatModel(norm="linf", eps=0.2)
    hop = attack("art-hopskipjump", max_queries=3000)
    x_adv = craft(hop, Fickle(), X[:1], Y[:1], threat, 0).x_adv
    assert torch.equal(x_adv, X[:1])


def test_nothing_is_printed(capfd, caplog):
    threat = ThreatModel(norm="linf", eps=0.1)
    craft(ArtAttack(cls="NewtonFool", verbose=True, max_iter=2), Plane(), X, Y, threat, 0)
    with isolated_rng(torch.Generator()):
        print("progress")
        logging.getLogger("art.attacks").warning("progress")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_points_that_are_no_images_get_no_scores():
    class Strict(Plane):
        def forward(self, x):
            assert x.isfinite().all()
            assert (x != 0).any(1).all()
            return super().forward(x)

    x = X.clone()
    x[1, 3], x[2, 0] = torch.nan, torch.inf
    classifier = Classifier(Strict(), X, 4, View(shape=(1, 10, 10)))
    scores = classifier.predict(x.numpy().reshape(3, 1, SIDE, SIDE))
    assert np.isnan(scores).all(1).tolist() == [False, True, True]
    np.testing.assert_allclose(scores[0], Plane()(X).detach()[0])


def test_the_time_limit_ends_an_attack_as_what_it_is():
    threat = ThreatModel(norm="linf", eps=0.04)
    with pytest.raises(TimeoutExceededError), time_limit(0.2):
        craft(attack("art-square", max_iter=10**6), Plane(), X, Y, threat, 0)
