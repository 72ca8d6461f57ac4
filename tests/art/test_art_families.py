"""ART's attacks on the four families of the zoo."""

from __future__ import annotations

import pytest
import torch
from art_plane import SPECS, attack

from qbench.api import load_dataset, load_model
from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel

FAMILIES = ["reup", "amplitude", "convnet", "fourier"]
FEW = {"art-boundary": 20, "art-cw-linf": 15, "art-hopskipjump": 3, "art-zoo": 4, "art-ead": 10}
# Broken by the attack alone, of 20 images, in the norm it looks in: at eps 0.1 in linf, 1 in l2.
NATIVE = {
    "art-deepfool": "l2",
    "art-cw-l2": "l2",
    "art-ead": "l2",
    "art-boundary": "l2",
    "art-zoo": "l2",
}


def broken(name, family, norm, count, **params):
    """Which images are classified correctly when clean and not when attacked."""
    model, test = load_model(family, seed=0), load_dataset().test
    x, y = test.x[:count], test.y[:count]
    threat = ThreatModel(norm=norm, eps={"linf": 0.1, "l2": 1.0}[norm])
    crafted = craft(attack(name, **params), model, x, y, threat, seed=0)
    with torch.no_grad():
        return (model(x).argmax(1) == y) & (model(crafted.x_adv).argmax(1) != y)


@pytest.mark.parametrize(
    "family",
    ["reup", "convnet", *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES[1::2])],
)
@pytest.mark.parametrize("name", SPECS)
def test_every_attack_runs_on_every_family(name, family):
    params = {"max_iter": FEW[name]} if name in FEW else {}
    params = {"steps": 10, "queries": 20} if name == "art-auto" else params
    broken(name, family, "linf", 3, **params)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SPECS)
def test_every_attack_breaks_some_images_of_every_family(name, family, norm):
    count = int(broken(name, family, norm, 20).sum())
    if norm == NATIVE.get(name, "linf"):
        assert count > 0


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_ensemble_breaks_what_its_first_part_breaks(family, norm):
    ensemble = broken("art-auto", family, norm, 50)
    apgd = broken("art-autopgd", family, norm, 50)
    assert ensemble.sum() >= apgd.sum()
