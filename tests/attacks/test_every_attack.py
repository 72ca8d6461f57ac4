"""What holds for every attack of ours, in each norm, at 2, 3 and 4 classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import broken, forms, network, run

from qbench.registry import load_registry
from qbench.specs import ThreatModel

OURS = {
    name: provided
    for name, provided in load_registry().all("attack").items()
    if provided.spec.factory.startswith("qbench_attacks.")
}
QUICK = {
    "pgd": {"steps": 10},
    "mifgsm": {"steps": 10},
    "mask-fgsm": {"pixels": 5},
    "universal": {"steps": 5},
    "apgd-ce": {"steps": 10},
    "apgd-dlr": {"steps": 10},
    "apgd-t": {"steps": 10},
    "fab": {"steps": 10},
    "deepfool": {"steps": 10},
    "ddn": {"steps": 30},
    "square": {"queries": 60},
    "spsa": {"steps": 10, "samples": 16},
    "hopskipjump": {"steps": 3, "samples": 20},
    "standard": {
        "apgd_steps": 10,
        "fab_steps": 10,
        "probe": 20,
        "queries": 60,
        "jumps": 2,
        "rounds": 2,
    },
}
CASES = [(name, norm) for name, found in OURS.items() for norm in found.spec.norms]


def attack(name):
    return OURS[name].create(**QUICK.get(name, {}))


def problem(name, classes, features=16):
    if name != "amplitude-exact":
        return network(classes, features)
    model = forms(classes, features, classes)
    x = torch.rand(20, features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return model, x, model(x).argmax(1)


def test_every_attack_is_here():
    wanted = "pgd fgsm mifgsm apgd-ce apgd-dlr apgd-t fab deepfool ddn square spsa hopskipjump"
    others = {"mask-fgsm", "universal", "amplitude-exact", "standard"}
    assert set(OURS) == {*wanted.split(), *others}


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_it_breaks_what_it_can_and_stays_in_the_ball(name, norm, classes):
    model, x, y = problem(name, classes)
    eps = 0.3 if norm == "linf" else 1.0
    crafted = run(attack(name), model, x, y, norm=norm, eps=eps)  # verified by craft
    assert bool(broken(model, crafted.x_adv, y).any())


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_seed_is_all_the_randomness(name, norm):
    model, x, y = problem(name, 3)
    torch.manual_seed(0)
    first = run(attack(name), model, x, y, norm=norm, seed=5).x_adv
    torch.manual_seed(1)
    assert torch.equal(first, run(attack(name), model, x, y, norm=norm, seed=5).x_adv)


# The perturbation of `universal` is fitted on all images that are classified correctly.
@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[0] != "universal"])
def test_images_that_drop_out_change_nothing_for_the_others(name, norm):
    model, x, y = problem(name, 4)
    wrong = y.clone()
    wrong[::3] = (wrong[::3] + 1) % 4  # broken as they are: attacks that drop images drop them
    kept = torch.ones(len(y), dtype=torch.bool)
    kept[::3] = False
    alone = run(attack(name), model, x, y, norm=norm).x_adv[kept]
    beside = run(attack(name), model, x, wrong, norm=norm).x_adv[kept]
    if name == "amplitude-exact":  # its linear algebra rounds by the size of the batch
        torch.testing.assert_close(alone, beside, rtol=0, atol=1e-12)
    else:
        assert torch.equal(alone, beside)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_one_image_and_none(name, norm):
    model, x, y = problem(name, 3)
    assert run(attack(name), model, x[:1], y[:1], norm=norm).x_adv.shape == (1, x.shape[1])
    threat = ThreatModel(norm=norm, eps=0.1)
    none = attack(name)(model, x[:0], y[:0], threat, torch.Generator())
    assert none.shape == (0, x.shape[1])


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_declared_passes_are_never_exceeded(name, norm):
    model, x, y = problem(name, 4)
    tool = attack(name)
    crafted = run(tool, model, x, y, norm=norm)
    assert crafted.forward <= tool.passes[0] * len(x)
    assert crafted.gradient <= tool.passes[1] * len(x)
    assert (crafted.gradient > 0) == (OURS[name].spec.gradient or name == "standard")


@settings(max_examples=6)
@given(
    seed=st.integers(0, 1000),
    eps=st.floats(0.001, 2),
    classes=st.sampled_from([2, 3, 4]),
    box=st.sampled_from([None, (0.0, 1.0)]),
)
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_results_stand_up_to_the_check_from_outside(name, norm, seed, eps, classes, box):
    model, x, y = problem(name, classes, features=9)
    run(attack(name), model, x, y, norm=norm, eps=eps, box=box, seed=seed)


@pytest.mark.parametrize("name", [name for name, found in OURS.items() if found.spec.targeted])
def test_it_reaches_a_class_where_it_says_so(name):
    model, x, y = network(4)
    goal = (y + 1) % 4
    norm = OURS[name].spec.norms[0]
    eps = 0.8 if norm == "linf" else 3.0
    x_adv = run(attack(name), model, x, goal, norm=norm, eps=eps, targeted=True).x_adv
    before = (model(x).argmax(1) == goal).sum()
    assert (model(x_adv).argmax(1) == goal).sum() > before


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("pgd", {"loss": "mse"}),
        ("mifgsm", {"steps": 0}),
        ("mask-fgsm", {"pixels": 0}),
        ("universal", {"steps": 0}),
        ("apgd-ce", {"steps": 0}),
        ("apgd-t", {"targets": 0}),
        ("fab", {"restarts": 0}),
        ("deepfool", {"steps": 0}),
        ("ddn", {"steps": 0}),
        ("square", {"queries": 0}),
        ("square", {"share": 0}),
        ("spsa", {"samples": 0}),
        ("hopskipjump", {"starts": 0}),
        ("standard", {"queries": 0}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name, bad):
    with pytest.raises(Exception, match=next(iter(bad))):
        OURS[name].create(**bad)
