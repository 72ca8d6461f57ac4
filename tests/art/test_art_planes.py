"""ART's attacks on models whose exact robustness is known."""

from __future__ import annotations

import pytest
import torch
from art_plane import DISTANCE, SPECS, Plane, X, Y, beyond, fooled, short

from qbench.errors import Unsupported
from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel

LONG = ("art-auto", "art-boundary", "art-ead")


def in_norms(names):
    """Each attack in both norms; those that take long are slow, in one norm or in both."""
    pairs = [(name, norm) for name in names for norm in ("l2", "linf")]
    late = {(name, "linf") for name in ("art-boundary", "art-cw-l2", "art-ead", "art-hopskipjump")}
    late |= {("art-cw-linf", "l2"), *((name, norm) for _, norm in pairs for name in LONG)}
    return [
        pytest.param(*pair, id="-".join(pair), marks=[pytest.mark.slow] if pair in late else [])
        for pair in pairs
    ]


@pytest.mark.parametrize(("name", "norm"), in_norms(SPECS))
def test_a_plane_breaks_beyond_its_distance_and_not_before(name, norm):
    assert fooled(name, norm, 0.99) == [False] * 3
    assert fooled(name, norm, beyond(name, norm)) == [True] * 3


@pytest.mark.parametrize(
    ("name", "norm"), in_norms(name for name, spec in SPECS.items() if spec.targeted)
)
def test_what_can_aim_reaches_the_class_beyond_the_distance(name, norm):
    assert fooled(name, norm, 0.99, targeted=True) == [False] * 3
    assert fooled(name, norm, beyond(name, norm), targeted=True) == [True] * 3


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.targeted])
def test_what_cannot_aim_says_so(name):
    with pytest.raises(Unsupported, match=r"^ART's \w+ cannot aim at a class$"):
        fooled(name, "linf", 1.0, targeted=True)


@pytest.mark.parametrize(
    "box", [(0.0, 1.5), *(pytest.param(b, marks=pytest.mark.slow) for b in (None, (-1.0, 2.0)))]
)
@pytest.mark.parametrize("name", SPECS)
def test_pixels_may_be_what_the_box_allows(name, box):
    norm = "linf" if name in ("art-square", "art-cw-linf") else "l2"
    threat = ThreatModel(norm=norm, eps=DISTANCE[norm] * beyond(name, norm), box=box)
    model, x = Plane(middle=1.0), X + 0.5  # class 0 has to become brighter than 1
    x_adv = craft(short(name, norm), model, x, Y, threat, seed=0).x_adv
    assert (model(x_adv).argmax(1) != Y).all()


@pytest.mark.parametrize("name", ["art-auto", "art-autopgd", "art-deepfool", "art-square"])
def test_two_classes_are_enough(name):
    assert fooled(name, "linf", 0.9, classes=2) == [False] * 3  # every part of an ensemble runs
    assert fooled(name, "linf", beyond(name, "linf"), classes=2) == [True] * 3


@pytest.mark.parametrize("name", ["art-boundary", "art-cw-l2", "art-deepfool", "art-hopskipjump"])
def test_near_images_outside_the_ball_are_not_handed_out(name):
    threat = ThreatModel(norm="l2", eps=DISTANCE["l2"] * 0.9)
    assert torch.equal(craft(short(name, "l2"), Plane(), X, Y, threat, seed=0).x_adv, X)
