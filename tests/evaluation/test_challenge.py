"""Images that others send: what counts, what is refused, and what verification says of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALL

from qbench.datasets.base import load_data
from qbench.errors import QbenchError, SoundnessError, StoreError, UsageError, WeightsError
from qbench.evaluation.challenge import judge
from qbench.evaluation.evidence import find, keep
from qbench.evaluation.executors import InProcess
from qbench.evaluation.planner import make_plan
from qbench.evaluation.scheduler import Scheduler
from qbench.evaluation.sent import Sent, read_images
from qbench.evaluation.task import run_task
from qbench.evaluation.verification import verify
from qbench.records import soundness
from qbench.records.archive import Archive
from qbench.records.boards import open_results
from qbench.records.columns import fingerprint
from qbench.records.entry import Entry, read_entry, write_entry
from qbench.records.record import Record
from qbench.records.store import RunStore
from qbench.records.worst import broken
from qbench.registry import load_registry
from qbench.report.collect import collect
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo

EPS = 0.1
KINDS = ("training", "attack", "transfer", "radii")  # what images from others are held against
# The certifiers that cover convnet take long: a test that needs one runs it.
SELECTION = replace(
    SMALL,
    models=("convnet", "fourier"),
    attacks=("fgsm",),
    certifiers=("fourier-linear",),
    seeds=None,
    eps=(EPS,),
    limit=None,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A run of two models under one weak attack, and an archive of it."""
    folder = tmp_path_factory.mktemp("measured")
    tasks = [task for task in make_plan(SELECTION) if task.identity.kind in KINDS]
    store = RunStore(folder / "run")
    with store.locked():
        Scheduler(tasks, store, InProcess()).run()
    Archive(folder / "archive" / "glyphs-linf-v1").add(store.results())
    return folder


@pytest.fixture
def archive(measured, tmp_path) -> Path:
    shutil.copytree(measured / "archive", tmp_path / "archive")
    return tmp_path / "archive"


@pytest.fixture(scope="module")
def stronger(measured) -> Sent:
    """Images that break convnet seed 0 where nothing on record does."""
    state, _ = unpack(Zoo().read("convnet", 0), "convnet")
    model = load_registry().get("model", "convnet").create()
    load_into(model, state.weights, "convnet")
    model.eval()
    x, y = load_data("glyphs").test.x, load_data("glyphs").test.y
    x_adv = x.clone()
    for _ in range(40):
        x_adv.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(x_adv), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        step = x_adv.detach() + EPS / 8 * gradient.sign() - x
        x_adv = (x + step.clamp(-EPS, EPS)).clamp(0, 1).detach()
    with torch.no_grad():
        breaks = ((model(x_adv).argmax(1) != y) & (model(x).argmax(1) == y)).numpy()
    results = open_results(measured / "run")
    on_record = [
        broken(results.columns(record))
        for record in results.records
        if record.task.kind in ("attack", "transfer")
        and (record.task.model.name, record.task.model.seed) == ("convnet", 0)
    ]
    image = np.flatnonzero(breaks & ~np.logical_or.reduce(on_record))
    assert len(image) >= 5
    return Sent(image.astype(np.int16), x_adv.numpy()[image])


def send(root: Path, sent: Sent, sender: str = "Jane Doe", **options):
    place, results = find(root, "convnet")
    if isinstance(place, RunStore):
        options["trained"] = place.artifact
    judged = judge(results, sent, "convnet", sender, **options)
    keep(judged, place, results)
    return judged


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def problems_of(root: Path) -> list[str]:
    """What verification finds, but for the checks of models, which `measured` leaves out."""
    left_out = re.compile(r"was attacked, and there is no (checks|fresh) of it$")
    return [problem for problem in verify(root).problems if not left_out.search(problem)]


def worst(root: Path) -> dict[int, float]:
    board = collect(open_results(root))
    (row,) = [row for row in board.rows if row.model.name == "convnet"]
    return dict(row.worst.by_seed)


@pytest.mark.parametrize("kept_in", ["archive", "run"])
def test_what_breaks_a_model_lowers_its_worst_case_and_verifies(
    measured, tmp_path, stronger, kept_in
):
    shutil.copytree(measured / kept_in, tmp_path / kept_in)
    root = tmp_path / kept_in
    before, images = worst(root), len(stronger.image)
    judged = send(root, stronger)
    assert judged.breaks.sum() == judged.alone.sum() == images
    after = worst(root)
    # No attack on record broke any of them: each counts once.
    assert after[0] == pytest.approx(before[0] - images / 200, abs=1e-12)
    assert {seed: after[seed] for seed in range(1, 5)} == {s: before[s] for s in range(1, 5)}
    results = open_results(root)
    kept = results.adversarial("convnet", 0)
    place = np.flatnonzero(np.isin(kept.image, stronger.image))
    assert np.array_equal(kept.x_adv[place], stronger.x_adv)
    (record,) = [r for r in results.records if r.task.kind == "challenge"]
    columns = results.columns(record)
    assert np.array_equal(np.flatnonzero(columns["linf"]), stronger.image)
    assert columns["linf"].max() <= np.float32(EPS * (1 + 1e-6))
    assert problems_of(root) == []
    board = collect(results)
    (shown,) = board.challenges
    assert (shown.model, shown.seed, shown.eps) == ("convnet", 0, EPS)
    assert (shown.sender, shown.sent, shown.broke, shown.alone) == ("Jane Doe", *[images] * 3)


@pytest.mark.slow
def test_an_archive_takes_over_what_a_run_was_sent(measured, tmp_path, stronger):
    shutil.copytree(measured / "run", tmp_path / "run")
    send(tmp_path / "run", stronger)
    root = tmp_path / "archive" / "glyphs-linf-v1"
    Archive(root).add(RunStore(tmp_path / "run").results(), ["fourier"])
    Archive.read(root).add(RunStore(tmp_path / "run").results())
    assert worst(root) == worst(tmp_path / "run")
    assert problems_of(root) == []


@pytest.mark.slow
def test_only_the_models_folder_is_written_and_the_same_images_only_once(archive, stronger):
    before = files(archive)
    send(archive, stronger)
    after = files(archive)
    changed = {name for name in after if after[name] != before[name]}
    assert {name.split("/")[1] for name in changed} == {"convnet"}
    with pytest.raises(UsageError, match="on record already, sent by Jane Doe"):
        send(archive, stronger, "Somebody else")
    assert files(archive) == after


def written(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


X = np.zeros((2, 256), np.float32)
FILES = {
    "image missing": ({"x_adv": X}, "it must hold x_adv and image"),
    "an array more": ({"x_adv": X, "image": [0, 1], "y": [1]}, "must hold x_adv and image"),
    "doubles": ({"x_adv": X.astype(float), "image": [0, 1]}, "x_adv is float64"),
    "one dimension": ({"x_adv": X[0], "image": [0]}, r"of shape \(256,\)"),
    "no integers": ({"x_adv": X, "image": [0.0, 1.0]}, "image is float64"),
    "another length": ({"x_adv": X, "image": [0]}, "one integer for each"),
    "nothing": ({"x_adv": X[:0], "image": np.zeros(0, int)}, "at least one"),
    "below 0": ({"x_adv": X, "image": [-1, 1]}, "counts from 0"),
    "beyond 16 bits": ({"x_adv": X, "image": [0, 65536]}, "no protocol has so many"),
    "twice": ({"x_adv": X, "image": [1, 1]}, "name no image twice"),
    "unsorted": ({"x_adv": X, "image": [1, 0]}, "must be ascending"),
    "two seeds": ({"x_adv": X, "image": [0, 1], "seed": [0, 1]}, "seed must be one integer"),
    "half a seed": ({"x_adv": X, "image": [0, 1], "seed": 0.5}, "seed must be one integer"),
    "two budgets": ({"x_adv": X, "image": [0, 1], "eps": [0.1, 0.2]}, "eps must be one number"),
    "code": ({"x_adv": X, "image": np.array([print, print])}, "not plain numbers"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_with_its_reason(tmp_path, name):
    arrays, reason = FILES[name]
    with pytest.raises(QbenchError, match=reason):
        read_images(written(tmp_path / "sent.npz", **arrays))


def test_only_a_regular_file_of_numbers_is_read(tmp_path, monkeypatch):
    good = written(tmp_path / "sent.npz", x_adv=X, image=[3, 17], seed=2, eps=np.float32(0.1))
    sent = read_images(good)
    assert (sent.image.tolist(), sent.seed, sent.eps) == ([3, 17], 2, pytest.approx(0.1))
    (tmp_path / "link.npz").symlink_to(good)
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "text.npz").write_text("no images")
    for name, reason in (
        ("none.npz", "No such file"),
        ("link.npz", "a link"),
        ("pipe.npz", "no regular file"),
        ("text.npz", "not a zip file"),
    ):
        with pytest.raises(StoreError, match=reason):
            read_images(tmp_path / name)
    monkeypatch.setattr("qbench.evaluation.sent.LARGEST", 1 << 10)
    with pytest.raises(StoreError, match="is larger than"):
        read_images(good)


def moved(sent: Sent, place: int, pixel: int, value: float) -> Sent:
    x_adv = sent.x_adv.copy()
    x_adv[place, pixel] = value
    return replace(sent, x_adv=x_adv)


def farther(sent: Sent) -> Sent:
    """The first image pushed beyond the ball by a thousandth of ε."""
    x = load_data("glyphs").test.x.numpy()[int(sent.image[0])]
    pixel = int(np.abs(x - 0.5).argmin())
    return moved(sent, 0, pixel, float(x[pixel]) + EPS * 1.001)


def original(sent: Sent) -> Sent:
    x_adv = sent.x_adv.copy()
    x_adv[0] = load_data("glyphs").test.x.numpy()[int(sent.image[0])]
    return replace(sent, x_adv=x_adv)


def another_image(sent: Sent) -> Sent:
    """Images in the ball of others than those they are said to stand for."""
    return replace(sent, image=(sent.image + 1).astype(np.int16))


REFUSED = {
    "an image that is not there": (
        lambda s: replace(s, image=np.array([*s.image[:-1], 200], np.int16)),
        {},
        "there is no image 200: there are 200",
    ),
    "other features": (lambda s: replace(s, x_adv=s.x_adv[:, :64]), {}, "64 features"),
    "not a number": (lambda s: moved(s, 0, 5, np.nan), {}, r"\(1 in all\) is not finite"),
    "infinite": (lambda s: moved(s, 1, 5, np.inf), {}, r"\(1 in all\) is not finite"),
    "outside the box": (lambda s: moved(s, 0, 5, -1e-3), {}, r"leaves the box \[0, 1\]"),
    "outside the ball": (farther, {}, r"too far from its original: .* ε is 0.1"),
    "another image's": (another_image, {}, "too far from its original"),
    "an original": (original, {}, "is its original, unchanged"),
    "no budget": (lambda s: s, {"eps": 0.11}, "ε = 0.11 is no budget"),
    "no number": (lambda s: s, {"eps": float("nan")}, "ε = nan is no budget"),
    "a budget nothing attacked at": (lambda s: s, {"eps": 0.2}, "nothing attacked .* at ε = 0.2"),
    "another budget": (lambda s: replace(s, eps=0.05), {"eps": 0.1}, "for eps 0.05, --eps"),
    "another seed": (lambda s: replace(s, seed=1), {"seed": 0}, "for seed 1, --seed says 0"),
    "no such seed": (lambda s: s, {"seed": 7}, "its seeds are 0, 1, 2, 3, 4"),
    "nobody": (lambda s: s, {"sender": ""}, "the name of the sender"),
    "an invisible sender": (lambda s: s, {"sender": "Jane\u202eDoe"}, "the name of the sender"),
    "two lines": (lambda s: s, {"sender": "Jane\nDoe"}, "the name of the sender"),
    "a long sender": (lambda s: s, {"sender": "J" * 101}, "the name of the sender"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_images_are_refused_with_their_reason(archive, stronger, name):
    change, options, reason = REFUSED[name]
    before = files(archive)
    with pytest.raises(QbenchError, match=reason):
        send(archive, change(stronger), **options)
    assert files(archive) == before


@pytest.mark.slow
def test_the_model_and_its_weights_must_be_those_on_record(measured, stronger, monkeypatch):
    with pytest.raises(StoreError, match=r"no model 'reup' in .*: there are convnet, fourier"):
        find(measured / "archive", "reup")
    other = Zoo().read("convnet", 1)
    monkeypatch.setattr(Zoo, "read", lambda *_: other)
    with pytest.raises(WeightsError, match="are not those of its records"):
        send(measured / "archive", stronger)
    monkeypatch.setattr(Zoo, "sha256", lambda *_: None)
    with pytest.raises(WeightsError, match="name their folder with --weights"):
        send(measured / "archive", stronger)


def edited(record: Record, **changes) -> Record:
    return Record.from_json(json.dumps({**json.loads(record.to_json()), **changes}))


def swapped(entry: Entry, old: Record, new: Record, columns: dict) -> Entry:
    """The entry with a record and its columns replaced, and every hash made right again."""
    new = edited(new, outcomes=fingerprint(columns))
    outcomes = {k: v for k, v in entry.outcomes.items() if k != old.id} | {new.id: columns}
    records = [record for record in entry.records if record.id != old.id]
    ordered = tuple(sorted([*records, new], key=lambda record: record.id))
    return replace(entry, records=ordered, outcomes=outcomes)


def certified(entry: Entry, sent: Sent) -> Entry:
    """The entry with a certificate that nothing within 0.2 breaks the images of seed 0."""
    alone = replace(SELECTION, models=("convnet",), certifiers=("convnet-linear",), seeds=(0,))
    kinds = ("training", "radii")
    training, radii = (task for task in make_plan(alone) if task.identity.kind in kinds)
    done = run_task(radii, {training.identity.id: run_task(training, {})})
    skipped = next(r for r in entry.records if r.task.kind == "radii" and r.task.model.seed == 0)
    columns = dict(done.columns or {})
    columns["radius"] = np.zeros(200)
    columns["radius"][sent.image] = 0.2
    return swapped(entry, skipped, done.record, columns)


@pytest.mark.slow
def test_an_image_inside_a_certified_radius_is_a_violation(archive, stronger):
    root = archive / "glyphs-linf-v1"
    send(archive, stronger)
    write_entry(root, "convnet", certified(read_entry(root / "convnet"), stronger))
    violations, _ = soundness.check(open_results(archive))
    assert {violation.image for violation in violations} == set(stronger.image.tolist())
    assert {violation.attack.label for violation in violations} == {"sent by Jane Doe"}
    assert any("sent by Jane Doe breaks it at" in problem for problem in verify(archive).problems)


@pytest.mark.slow
def test_images_that_refute_a_certificate_are_not_written_beside_it(archive, stronger):
    root = archive / "glyphs-linf-v1"
    write_entry(root, "convnet", certified(read_entry(root / "convnet"), stronger))
    before = files(archive)
    with pytest.raises(SoundnessError, match=r"sent by Jane Doe breaks it at .* is wrong"):
        send(archive, stronger)
    assert files(archive) == before


def forged(entry: Entry, record: Record) -> Iterator[tuple[Entry, str]]:
    """Entries whose record of sent images says something else, and what is due for each."""
    columns = dict(entry.outcomes[record.id])
    task, metrics = (json.loads(record.to_json())[key] for key in ("task", "metrics"))

    def other(**changes: np.ndarray) -> dict:
        return {**columns, **changes}

    yield (
        swapped(entry, record, edited(record, label="sent by a friend"), columns),
        "it is called sent by a friend, its sender makes it sent by Jane Doe",
    )
    yield (
        swapped(entry, record, edited(record, task={**task, "eps": 0.12}), columns),
        "ε = 0.12 in linf is no budget of the protocol",
    )
    right = columns["clean_prediction"]
    claimed = {**metrics, "adversarial_accuracy": metrics["clean_accuracy"]}
    claimed["robust_accuracy"] = metrics["clean_accuracy"]
    margin = columns["clean_margin"]
    yield (
        swapped(
            entry,
            record,
            edited(record, metrics=claimed),
            other(adversarial_prediction=right, adversarial_margin=margin),
        ),
        "none of its images breaks the model",
    )
    yield (
        swapped(entry, record, edited(record, metrics={**metrics, "robust_accuracy": 0}), columns),
        "robust accuracy 0",
    )
    far = np.where(columns["linf"] > 0, 0.3, 0).astype(np.float32)
    yield swapped(entry, record, record, other(linf=far, l2=far)), "away, ε is 0.1"
    # One image more is said to be broken: the one that was not sent has not moved.
    unsent = np.flatnonzero((columns["linf"] == 0) & (right == columns["label"]))
    wrong, negative = columns["adversarial_prediction"].copy(), columns["adversarial_margin"].copy()
    wrong[unsent], negative[unsent] = (columns["label"][unsent] + 1) % 4, -1
    fewer = edited(record, metrics={**metrics, "adversarial_accuracy": 0, "robust_accuracy": 0})
    yield (
        swapped(
            entry, record, fewer, other(adversarial_prediction=wrong, adversarial_margin=negative)
        ),
        "of an image that was not sent is not that of the clean image",
    )
    # And the same with distances to match: then the images themselves are missing.
    norm = np.where(columns["linf"] == 0, 0.05, columns["linf"]).astype(np.float32)
    moved_all = other(adversarial_prediction=wrong, adversarial_margin=negative, linf=norm, l2=norm)
    yield swapped(entry, record, fewer, moved_all), "was broken, and not kept"


@pytest.mark.slow
def test_verification_refuses_a_record_that_was_tampered_with(archive, stronger):
    root = archive / "glyphs-linf-v1"
    send(archive, stronger)
    entry = read_entry(root / "convnet")
    (record,) = [r for r in entry.records if r.task.kind == "challenge"]
    for tampered, reason in forged(entry, record):
        write_entry(root, "convnet", tampered)
        problems = verify(archive).problems
        assert any(reason in problem for problem in problems), (reason, problems[:5])


def newer(results, weights: str | None = None):
    """Results in which convnet has revision 2, and maybe other weights."""

    def raised(record: Record) -> Record:
        values = json.loads(record.to_json())
        for part in ("model", "source"):
            if values["task"].get(part, {}).get("name") == "convnet":
                values["task"][part]["revision"] = 2
        if weights and values["task"]["model"]["name"] == "convnet":
            values["weights"] = weights
        return Record.from_json(json.dumps(values))

    of = {raised(record).id: record for record in results.records}
    cards = dict(results.cards)
    cards["convnet"] = cards["convnet"].model_copy(update={"revision": 2})
    return replace(
        results,
        records=tuple(raised(record) for record in results.records),
        columns=lambda record: results.columns(of[record.id]),
        cards=cards,
    )


@pytest.mark.slow
def test_what_was_sent_outlives_a_revision_with_the_same_weights(measured, archive, stronger):
    root = archive / "glyphs-linf-v1"
    send(archive, stronger)
    before, kept = worst(archive), open_results(archive).adversarial("convnet", 0)
    fresh = RunStore(measured / "run").results()
    taken = Archive.read(root)
    taken.add(newer(fresh))
    assert taken.notes == []
    assert worst(archive) == before
    results = open_results(archive)
    (record,) = [r for r in results.records if r.task.kind == "challenge"]
    assert record.task.model.revision == 2
    assert results.adversarial("convnet", 0).image.tolist() == kept.image.tolist()


@pytest.mark.slow
def test_what_was_sent_against_other_weights_goes_with_a_note(measured, archive, stronger):
    root = archive / "glyphs-linf-v1"
    before = worst(archive)
    send(archive, stronger)
    taken = Archive.read(root)
    taken.add(newer(RunStore(measured / "run").results(), "0" * 64))
    (note,) = taken.notes
    assert note == (
        "the challenge of convnet seed 0 at 0.1, sent by Jane Doe went: the weights are others now"
    )
    assert worst(archive) == before


@pytest.mark.slow
def test_the_command_says_what_changed_and_refuses_in_one_line(archive, tmp_path, stronger):
    arrays = {"x_adv": stronger.x_adv, "image": stronger.image, "seed": 0, "eps": EPS}
    good = written(tmp_path / "good.npz", **arrays)
    # Half of the way to the original breaks nothing that a weak attack left.
    x = load_data("glyphs").test.x.numpy()[stronger.image.astype(int)]
    near = written(tmp_path / "near.npz", **arrays | {"x_adv": x + (stronger.x_adv - x) / 1000})
    text = tmp_path / "text.npz"
    text.write_text("no images")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "qbench", *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    before, images = files(archive), len(stronger.image)
    options = ("--by", "Jane <b>Doe</b>", "--results", str(archive))
    weak = call("challenge", "convnet", str(near), *options)
    assert weak.returncode == 1
    assert f"none of the {images} images breaks convnet seed 0 at ε = 0.1" in weak.stderr
    none = call("challenge", "convnet", str(text), *options)
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)
    assert none.stderr.startswith("error: ")
    assert files(archive) == before
    done = call("challenge", "convnet", str(good), *options)
    assert done.returncode == 0, done.stderr
    assert f"{images} break it, {images} of them where nothing else does" in done.stdout
    fallen = worst(archive)[0]
    assert f"-> {fallen:.3f}" in done.stdout
    page = call("leaderboard", "build", str(archive), "--out", "page")
    assert page.returncode == 0, page.stderr
    shown = (tmp_path / "page" / "README.md").read_text()
    assert "Jane &lt;b&gt;Doe&lt;/b&gt;" in shown
    assert "<b>" not in shown
    gone = call("leaderboard", "remove", "convnet", "--archive", str(archive))
    assert "note: so went the challenge of convnet seed 0" in gone.stdout
