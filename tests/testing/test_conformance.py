"""The conformance kit: every fault is found by the check that is meant for it, and by no other."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import faulty
import pytest

from qbench.errors import QbenchError
from qbench.plugin_files import PluginFile
from qbench.registry import load_registry
from qbench.testing import Check, Target, checks_of, outcomes, targets
from qbench.testing.references import build, linear

FILE = Path(__file__).with_name("faulty.py")
TRICKS = Path(__file__).parents[1] / "evaluation" / "dishonest.py"
FAULTS = {
    **faulty.MODELS,
    **faulty.ATTACKS,
    **faulty.CERTIFIERS,
    **faulty.ENGINES,
    **faulty.DATASETS,
}


@pytest.fixture(scope="module")
def plugin():
    sys.modules.pop("faulty", None)  # so that the plugin file may have the name
    yield PluginFile.read(FILE)
    sys.modules["faulty"] = faulty


def failed(target, weights=None):
    """Which checks fail, without the norm, and what they say."""
    found = [one for one in outcomes(checks_of(target, weights)) if not one.passed]
    return {one.check.name.partition(" (l")[0]: one.detail for one in found}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_check_and_no_other(plugin, name):
    (target,) = targets(name, (plugin,))
    found = failed(target)
    assert set(found) == FAULTS[name], found
    assert all(found.values())  # each says what is wrong


def test_a_file_stands_for_all_that_is_in_it(plugin):
    assert {target.text for target in targets(str(FILE))} == set(FAULTS)
    assert {target.kind for target in targets(str(FILE))} == {
        "model",
        "attack",
        "certifier",
        "engine",
        "dataset",
    }


def test_models_that_look_robust_without_being_so():
    """All but the one that knows the test images, which new images give away."""
    found = {target.name.removeprefix("trick-"): failed(target) for target in targets(str(TRICKS))}
    passing = {kind for kind, complaints in found.items() if not complaints}
    assert passing == {"honest", "declared-noisy", "table"}


def test_a_name_of_two_kinds_is_checked_as_both():
    assert {target.kind for target in targets("amplitude-exact")} == {"attack", "certifier"}
    assert [str(target) for target in targets("pgd:steps=3")] == ["attack pgd:steps=3"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pgdd", "unknown name 'pgdd': did you mean pgd"),
        ("zz-model", "nothing is called 'zz-model': install its plugin"),
        ("convnet:steps=3", "the model 'convnet' takes no parameters here: write 'convnet'"),
        ("nowhere.py", "nowhere.py does not load: No such file"),
    ],
)
def test_what_names_nothing_is_refused(text, complaint):
    with pytest.raises(QbenchError, match=complaint):
        targets(text)


def test_a_file_that_provides_nothing_is_refused(tmp_path):
    file = tmp_path / "plugin_of_nothing.py"
    file.write_text("def qbench_models():\n    return []\n")
    with pytest.raises(QbenchError, match="@hookimpl"):
        targets(str(file))


def test_a_check_that_hangs_fails_at_its_time_limit():
    hanging = Check("model slow", "ends", lambda: time.sleep(60) or "")
    (found,) = outcomes([hanging], 0.2)
    assert not found.passed
    assert "time limit" in found.detail


def test_the_distance_of_a_linear_model_is_known():
    """Independently: along the steepest direction the class changes there and not before."""
    for classes in (2, 3):
        one = linear(classes)
        weight, bias = (p.detach().double() for p in one.model.parameters())
        for norm in ("linf", "l2"):
            for x, y, far in zip(one.x.double(), one.y, one.exact[norm], strict=True):
                ends = []
                for other in set(range(classes)) - {int(y)}:
                    slope = weight[other] - weight[y]
                    step = slope.sign() if norm == "linf" else slope / slope.norm()
                    ends.append((x, step))
                for share, expected in ((0.999, True), (1.001, False)):
                    kept = all(
                        int((weight @ (x + share * far * step) + bias).argmax()) == int(y)
                        for x, step in ends
                    )
                    assert kept == expected


FIRST_PARTY = [
    "pgd:steps=10",
    "fgsm",
    "deepfool",
    "spsa",
    "hopskipjump:steps=3:samples=20",
    "convnet",
    "reup-hw4",
    "glyphs",
    "torch",
    "smoothing",
    "convnet-local",
    "spectral-product",
]


@pytest.mark.parametrize("text", FIRST_PARTY)
def test_our_own_pass(text):
    for target in targets(text):
        assert failed(target) == {}


def others(kind):
    """Names of one kind that are not tested every time, with parameters that make them quick."""
    quick = {
        "mifgsm": ":steps=10",
        "universal": ":steps=10",
        "apgd-ce": ":steps=10",
        "apgd-dlr": ":steps=10",
        "apgd-t": ":steps=10",
        "fab": ":steps=10",
        "ddn": ":steps=30",
        "square": ":queries=100",
        "standard": ":apgd_steps=10:fab_steps=10:probe=20:queries=60:jumps=2:rounds=2",
        "art-cw-linf": ":max_iter=20",
        "art-ead": ":max_iter=20",
        "art-boundary": ":max_iter=100",
        "art-hopskipjump": ":max_iter=5:max_eval=100",
        "art-zoo": ":max_iter=20:binary_search_steps=2",
    }
    tested = {text.partition(":")[0] for text in FIRST_PARTY}
    return [name + quick.get(name, "") for name in load_registry().all(kind) if name not in tested]


@pytest.mark.slow
@pytest.mark.parametrize("text", [*others("attack"), *others("certifier")])
def test_all_our_attacks_and_certifiers_pass(text):
    for target in targets(text):
        assert failed(target) == {}


@pytest.mark.slow
@pytest.mark.parametrize("text", ["statevector", "pennylane", "aer", "aer:marrakesh"])
def test_all_our_engines_pass(text):
    (target,) = targets(text)
    assert failed(target) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", load_registry().all("model"))
def test_all_our_trained_models_pass(name):
    weights = build(load_registry(), name)[0].state_dict()
    assert failed(Target("model", name), weights) == {}


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("convnet", 0, "no flag is raised"),
        ("d-missing-class", 1, "FAIL  every class is in both splits: test: no image of b"),
        ("d-none", 1, "0 passed, 1 failed, 3 left out, which need the one that failed"),
        ("m-in-place", 1, "4 passed, 3 failed"),
    ],
)
def test_the_command_says_what_holds(plugin, qbench_cli, name, code, line):
    done = qbench_cli("check", name, "--plugin", plugin.path)
    # A model is checked as it is before an attack, too.
    assert ("⚑ input-changed (warning)" in done.stdout) == (name == "m-in-place")
    assert (done.returncode, done.stderr) == (code, "")
    assert line in done.stdout.splitlines()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_command_refuses_what_is_not_there_in_one_line(qbench_cli):
    done = qbench_cli("check", "zz-model")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nothing is called 'zz-model'")
