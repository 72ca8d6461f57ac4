"""Any class of ART by name, and what is said of those that cannot be run."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from art_plane import DISTANCE, Plane, X, Y, attack, images
from torch import nn

from qbench.errors import PluginError, UnknownNameError, Unsupported, UsageError
from qbench.evaluation.crafting import craft
from qbench.geometry import distance
from qbench.specs import ThreatModel
from qbench_art.attack import ArtAttack
from qbench_art.ensemble import ArtAutoAttack


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"cls": "NewtonFoo"},
            UnknownNameError,
            "^unknown ART attack 'NewtonFoo': did you mean NewtonFool",
        ),
        (
            {"cls": "NewtonFool", "etta": 1},
            UnknownNameError,
            r"^unknown parameter of ART's NewtonFool 'etta': did you mean eta\?$",
        ),
        (
            {"cls": "NewtonFool", "eta": -1.0},
            UsageError,
            "^ART's NewtonFool refuses its parameters: ValueError: The eta coefficient",
        ),
        ({"cls": "DPatch"}, Unsupported, "^ART's DPatch does not attack PyTorch classifiers$"),
        (
            {"cls": "LaserAttack"},
            UsageError,
            "^ART's LaserAttack refuses its parameters: TypeError: .* missing 2 required",
        ),
        (
            {"cls": "LowProFool"},
            PluginError,
            "^ART's LowProFool failed: ValueError: No feature importance vector",
        ),
    ],
)
def test_what_art_cannot_run_is_said_in_one_line(params, error, message):
    with pytest.raises(error, match=message) as caught:
        craft(ArtAttack(**params), Plane(), X, Y, ThreatModel(norm="linf", eps=0.1), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", ["BasicIterativeMethod", "VirtualAdversarialMethod", "SimBA"])
def test_other_classes_run_by_name(cls):
    threat = ThreatModel(norm="linf", eps=0.1)
    craft(ArtAttack(cls=cls, max_iter=20), Plane(), X, Y, threat, 0)


def test_labels_that_a_class_would_aim_at_are_kept_from_it():
    threat = ThreatModel(norm="l2", eps=4.0)
    jsma = ArtAttack(cls="SaliencyMapMethod", theta=-0.4)
    x_adv = craft(jsma, Plane(2), X[:2], Y[:2], threat, 0).x_adv
    assert Plane(2)(x_adv).argmax(1).tolist() == [0, 0]


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    for missing in ("multiprocess", "packaging.version", "art.attacks.evasion"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(Unsupported, match=rf"{missing}.*: pip install .*\[art\]'$"):
                craft(ArtAttack(), Plane(), X, Y, ThreatModel(norm="linf", eps=0.1), 0)


def test_square_needs_square_images():
    threat, x = ThreatModel(norm="linf", eps=0.1), X[:, :99]
    with pytest.raises(Unsupported, match="needs square images, and 99 features are none"):
        craft(attack("art-square"), nn.Linear(99, 4), x, Y, threat, 0)
    for shape, found in (((100,), "100 features are none"), ((4, 25), r"these are \(4, 25\)")):
        with pytest.raises(Unsupported, match=f"needs square images, and {found}"):
            craft(attack("art-square"), Plane(), X, Y, replace(threat, input_shape=shape), 0)
    tiny = ThreatModel(norm="linf", eps=1e-6)  # breaks nothing, so that all of an ensemble runs
    torch.manual_seed(0)
    model = nn.Linear(99, 4)
    labels = model(x).argmax(1)
    for name in ("art-auto", "art-zoo", "art-pgd"):
        craft(attack(name), model, x, labels, tiny, 0)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"restarts": 0}, {"queries": -1}])
def test_the_ensemble_refuses_budgets_that_make_no_sense(bad):
    with pytest.raises(UsageError, match=r"^ART's AutoAttack refuses its parameters"):
        craft(ArtAutoAttack(**bad), Plane(), X, Y, ThreatModel(norm="linf", eps=0.1), 0)


def test_the_ensemble_keeps_what_any_part_breaks_and_square_sees_the_rest():
    # distance below one step of each part's reach for two images, beyond the ball for one
    x, y = images(low=-3.0)
    threat = ThreatModel(norm="linf", eps=DISTANCE["linf"] * 1.1)
    x_adv = craft(attack("art-auto", queries=5), Plane(), x, y, threat, 0).x_adv
    assert (Plane()(x_adv).argmax(1) != y).tolist() == [True, True, False]
    assert bool((distance(x_adv, x, "linf") <= threat.eps).all())
