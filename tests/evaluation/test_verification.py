"""Verification: our own results pass, and each tampering is refused with its reason."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL, run
from tampering import cut, edited, first, read, rehashed, swap, write
from torch import Tensor, nn

from qbench.datasets.base import Split, load_data
from qbench.evaluation import checks
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.verification import verify
from qbench.records.archive import Archive
from qbench.records.entry import Entry, read_entry, write_entry
from qbench.records.results import Adversarial
from qbench.records.store import RunStore
from qbench.weights.files import fingerprint as weights_fingerprint

MODELS = ("convnet", "fourier")


@pytest.fixture(scope="module")
def _asked_once():
    """The same question of the same weights has the same answer: each is asked once."""
    remembered: dict[tuple, object] = {}

    def once(ask):
        def answered(*given, **named):
            key = (ask.__name__, *map(_told_apart, given), *map(_told_apart, named.values()))
            if key not in remembered:
                remembered[key] = ask(*given, **named)
            return remembered[key]

        return answered

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SavedModel, "predictions", once(SavedModel.predictions))
        patched.setattr(checks, "check", once(checks.check))
        yield


def _told_apart(value: object) -> object:
    if isinstance(value, SavedModel):
        return value.spec.name, hashlib.sha256(value.weights).hexdigest()
    if isinstance(value, nn.Module):
        return weights_fingerprint(value.state_dict())
    if isinstance(value, Split):
        return _told_apart(value.x)
    if isinstance(value, Tensor):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()
    return value


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """An archive of two models, whole: every seed, image and budget of the protocol."""
    folder = tmp_path_factory.mktemp("published")
    selection = replace(
        SMALL,
        models=MODELS,
        attacks=("fgsm",),
        certifiers=("spectral-product", "fourier-linear"),
        seeds=None,
        eps=None,
        limit=None,
    )
    run(selection, folder / "run")
    Archive(folder / "archive").add(RunStore(folder / "run").results())
    return folder


def test_what_was_measured_passes(published):
    for name in ("run", "archive"):
        verdict = verify(published / name)
        assert verdict.problems == []
        assert verdict.counts["clean images scored again"] == 2 * 5 * 200
        assert verdict.counts["adversarial images scored again"] > 500
        # one certifier of one model, against three budgets and the images of the other
        pairs = verdict.counts["pairs of a radius and an attacked image"]
        assert pairs == 5 * 200 * 4


def test_weights_that_are_not_at_hand_are_noted(published, monkeypatch):
    monkeypatch.setattr("qbench.weights.zoo.Zoo.sha256", lambda *_: None)
    verdict = verify(published / "archive")
    assert verdict.problems == []
    assert "convnet seed 0: no weights at hand, images not scored again" in verdict.notes


@pytest.mark.parametrize("error", [RuntimeError("mine"), ZeroDivisionError(), MemoryError()])
def test_whatever_a_strangers_model_raises_is_a_problem_and_not_a_crash(
    published, monkeypatch, error
):
    def raises(*_):
        raise error

    monkeypatch.setattr("qbench_classical.models.ConvNet.forward", raises)
    problems = verify(published / "archive").problems
    assert len(problems) == 5
    assert problems[0].startswith(f"convnet seed 0: {type(error).__name__}")


def a_metric(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(robust_accuracy=1.0)))


def a_prediction(entry: Entry) -> Entry:
    """All images correct, metrics and hashes adapted."""
    record = first(entry, "attack", eps=0.1)
    columns = entry.outcomes[record.id]
    right = {
        "adversarial_prediction": columns["label"],
        "adversarial_margin": np.abs(columns["adversarial_margin"]),
    }
    accuracies = {"robust_accuracy": 1.0, "adversarial_accuracy": 1.0}
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(accuracies)), **right)


def outside_the_ball(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    moved = kept.x_adv.copy()
    moved[0] = np.clip(moved[0] + 0.2, 0, 1)
    return replace(entry, adversarial={**entry.adversarial, of: Adversarial(kept.image, moved)})


def outside_the_box(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    moved = kept.x_adv.copy()
    moved[0, 0] = -0.05
    return replace(entry, adversarial={**entry.adversarial, of: Adversarial(kept.image, moved)})


def an_image_that_breaks_nothing(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    clean = kept.x_adv.copy()
    clean[0] = CLEAN[int(kept.image[0])]
    return replace(entry, adversarial={**entry.adversarial, of: Adversarial(kept.image, clean)})


def an_image_left_out(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    fewer = Adversarial(kept.image[1:], kept.x_adv[1:])
    return replace(entry, adversarial={**entry.adversarial, of: fewer})


def other_weights(entry: Entry) -> Entry:
    for record in entry.records:
        if record.task.model.name == "convnet" and record.task.model.seed == 0:
            entry = swap(entry, record, edited(record, lambda v: v.update(weights="0" * 64)))
    return replace(entry, weights={**entry.weights, 0: "0" * 64})


def two_weights(entry: Entry) -> Entry:
    record = first(entry, "attack")
    return swap(entry, record, edited(record, lambda v: v.update(weights="0" * 64)))


def a_seed_dropped(entry: Entry) -> Entry:
    kept = tuple(record for record in entry.records if record.task.model.seed != 3)
    ids = {record.id for record in kept}
    outcomes = {k: v for k, v in entry.outcomes.items() if k in ids}
    adversarial = {of: kept for of, kept in entry.adversarial.items() if of[1] != 3}
    return replace(entry, records=kept, outcomes=outcomes, adversarial=adversarial)


def a_result_dropped(entry: Entry) -> Entry:
    return swap(entry, first(entry, "attack", eps=0.1), None)


def another_protocol(entry: Entry) -> Entry:
    record = first(entry, "attack")
    protocol = {"name": "wendlinger2024", "sha256": "0" * 64}
    return swap(entry, record, edited(record, lambda v: v["task"].update(protocol=protocol)))


def fewer_steps(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    params = {**record.task.attack.params, "random_start": True}
    return swap(entry, record, edited(record, lambda v: v["task"]["attack"].update(params=params)))


def fewer_images(entry: Entry) -> Entry:
    record = first(entry, "lipschitz")
    return swap(entry, record, edited(record, lambda v: v["task"]["data"].update(images=10)))


def too_far(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.05)
    far = np.full(200, 0.9, np.float32)
    return swap(entry, record, record, linf=far, l2=far)


def another_label(entry: Entry) -> Entry:
    record = first(entry, "attack")
    label = entry.outcomes[record.id]["label"].copy()
    label[0] = (label[0] + 1) % 4
    return swap(entry, record, record, label=label)


def a_larger_radius(entry: Entry) -> Entry:
    record = first(entry, "radii")
    wide = np.full(200, 5.0)
    certified = [1.0] * len(record.task.eps)
    claimed = edited(record, lambda v: v["metrics"].update(certified_accuracy=certified))
    return swap(entry, record, claimed, radius=wide)


def a_bound_below_what_was_seen(entry: Entry) -> Entry:
    record = first(entry, "lipschitz")
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(bound=0.1)))


def a_forged_family(entry: Entry) -> Entry:
    return replace(entry, card=entry.card.model_copy(update={"family": "quantum"}))


def a_check(entry: Entry) -> Entry:
    record = first(entry, "checks")
    return swap(entry, record, edited(record, lambda v: v["metrics"]["values"].pop("not_finite")))


def another_check(entry: Entry) -> Entry:
    record = first(entry, "checks")
    worse = {"flat_gradients": 0.5}
    return swap(entry, record, edited(record, lambda v: v["metrics"]["values"].update(worse)))


def no_checks(entry: Entry) -> Entry:
    for record in [r for r in entry.records if r.task.kind == "checks"]:
        entry = swap(entry, record, None)
    return entry


def new_images(entry: Entry) -> Entry:
    record = first(entry, "fresh")
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(clean_accuracy=0.5)))


def few_new_images(entry: Entry) -> Entry:
    record = first(entry, "fresh")
    return swap(entry, record, edited(record, lambda v: v["task"].update(images=20)))


TAMPERINGS = {
    a_metric: "robust accuracy 1.0, its images give",
    a_prediction: "was kept, and no record says it was broken",
    outside_the_ball: "from its original, ε is 0.1",
    outside_the_box: "leaves the box",
    an_image_that_breaks_nothing: "is classified correctly",
    an_image_left_out: "was broken, and not kept",
    other_weights: "other weights than those that are published",
    two_weights: "are not those of the records",
    a_seed_dropped: r"convnet lacks seeds \[3\] of the protocol",
    a_result_dropped: "no attack",
    another_protocol: "another protocol",
    fewer_steps: "it is called fgsm, its parameters make it fgsm:random_start=true",
    fewer_images: "other images than the other records",
    too_far: "is 0.899999976 away, ε is 0.05",
    another_label: "image 0 has label",
    a_larger_radius: "certifies image",
    a_bound_below_what_was_seen: "exceeds the bound 0.1",
    a_forged_family: "family is 'quantum', its plugin says 'classical'",
    a_check: "there is no check not_finite",
    another_check: "flat gradients: 0.5, found 0",
    no_checks: "convnet seed 0 was attacked, and there is no checks of it",
    new_images: "clean accuracy 0.5 on new images, they give 1",
    few_new_images: "20 new images, 400 are due",
}
CLEAN = {}


@pytest.mark.usefixtures("_asked_once")
@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_each_tampering_is_refused_with_its_reason(published, tmp_path, tamper):
    CLEAN.update(enumerate(load_data("glyphs").test.x.numpy()))
    root = tmp_path / "archive"
    shutil.copytree(published / "archive", root)
    # The certifier of radii that covers convnet takes long: a radius is tampered with elsewhere.
    model = "fourier" if tamper is a_larger_radius else "convnet"
    write_entry(root, model, tamper(read_entry(root / model)))
    problems = verify(root).problems
    assert any(re.search(TAMPERINGS[tamper], problem) for problem in problems), problems[:5]


def twice(folder: Path) -> None:
    lines = read(folder / "records.jsonl.gz").splitlines(keepends=True)
    write(folder / "records.jsonl.gz", lines[0] + b"".join(lines))


RAW = {
    "a duplicate": (twice, "line 2: stands twice"),
    "not a number": (
        lambda f: cut(f / "records.jsonl.gz", b'"clean_accuracy":1.0', b'"clean_accuracy":NaN'),
        "line 1: .*|finite",
    ),
    "a path": (
        lambda f: cut(f / "records.jsonl.gz", b'"name":"convnet"', b'"name":"../convnet"'),
        "pattern",
    ),
    "a model that nobody knows": (
        lambda f: cut(f / "records.jsonl.gz", b'"name":"convnet"', b'"name":"connvet"'),
        "its model has no card|other|order|known",
    ),
    "a hash": (lambda f: cut(f / "card.toml", b'seed0 = "', b'seed0 = "0'), "seed0|weights"),
}


@pytest.mark.usefixtures("_asked_once")
@pytest.mark.parametrize("name", RAW)
def test_files_that_were_edited_are_refused(published, tmp_path, name):
    root = tmp_path / "archive"
    shutil.copytree(published / "archive", root)
    change, reason = RAW[name]
    change(root / "convnet")
    rehashed(root / "convnet")
    problems = verify(root).problems
    assert any(re.search(reason, problem) for problem in problems), problems[:5]
