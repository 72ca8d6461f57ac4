"""The archive: adding, merging and removing change what they name and nothing else."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL, run

from qbench.errors import StoreError
from qbench.records.archive import Archive
from qbench.records.boards import boards, open_results
from qbench.records.columns import from_npz, to_npz
from qbench.records.entry import FILES
from qbench.records.results import Adversarial, Results
from qbench.records.store import RunStore

MODELS = ("convnet", "fourier", "reup-hw4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Results:
    """Three models, attacked and certified in one run."""
    folder = tmp_path_factory.mktemp("whole")
    few = ("spectral-product", "fourier-linear")
    run(replace(SMALL, models=MODELS, attacks=("fgsm",), certifiers=few, limit=20), folder)
    return RunStore(folder).results()


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def same(one: Results, other: Results) -> None:
    assert one.records == other.records
    assert one.cards == other.cards
    for record in one.records:
        if record.outcomes is not None:
            ours, theirs = one.columns(record), other.columns(record)
            assert ours.keys() == theirs.keys()
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    for model in one.cards:
        for seed in (0, 1):
            ours, theirs = one.adversarial(model, seed), other.adversarial(model, seed)
            assert np.array_equal(ours.image, theirs.image)
            assert np.array_equal(ours.x_adv, theirs.x_adv)


def test_what_is_added_reads_back(whole, tmp_path):
    assert Archive(tmp_path / "a").add(whole) == list(MODELS)
    same(Archive.read(tmp_path / "a").results(), whole)
    assert {path.name for path in (tmp_path / "a" / "convnet").iterdir()} == set(FILES)
    before = files(tmp_path)
    assert Archive.read(tmp_path / "a").add(whole) == []
    assert files(tmp_path) == before


def test_adding_a_model_writes_its_folder_and_no_other(whole, tmp_path):
    Archive(tmp_path).add(whole, ["fourier", "reup-hw4"])
    before = files(tmp_path)
    assert Archive.read(tmp_path).add(whole, ["convnet"]) == ["convnet"]
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"convnet"}
    same(Archive.read(tmp_path).results(), whole)


def test_the_order_of_additions_changes_no_result(whole, tmp_path):
    for order in (MODELS, MODELS[::-1]):
        root = tmp_path / order[0]
        for model in order:
            Archive.read(root).add(whole, [model])
        same(Archive.read(root).results(), whole)


def test_a_later_run_brings_the_images_that_are_worse(tmp_path):
    first = replace(SMALL, attacks=("fgsm",), certifiers=(), limit=30, models=("convnet",))
    run(first, tmp_path / "first")
    archive = Archive(tmp_path / "a")
    archive.add(RunStore(tmp_path / "first").results())
    known = {record.id for entry in archive.entries.values() for record in entry.records}
    run(replace(first, models=("convnet-ep100",)), tmp_path / "second", known=known)
    Archive.read(tmp_path / "a").add(RunStore(tmp_path / "second").results())
    run(replace(first, models=("convnet", "convnet-ep100")), tmp_path / "whole")
    found, whole, worse = Archive.read(tmp_path / "a"), RunStore(tmp_path / "whole").results(), 0
    for model in whole.cards:
        for seed in (0, 1):
            ours, theirs = found.adversarial(model, seed), whole.adversarial(model, seed)
            if theirs is None:
                continue
            assert np.array_equal(ours.image, theirs.image)
            assert np.array_equal(ours.x_adv, theirs.x_adv)
            before = archive.adversarial(model, seed)
            if before is not None:
                both = np.isin(theirs.image, before.image)
                worse += int((theirs.x_adv[both] != before.x_adv).any(1).sum())
    assert worse > 0


def test_removing_a_model_takes_its_transfers_too(whole, tmp_path):
    for model in ("fourier", "convnet", "reup-hw4"):
        Archive.read(tmp_path / "three").add(whole, [model])
    archive = Archive.read(tmp_path / "three")
    assert archive.remove("fourier") == ["convnet", "reup-hw4"]
    left = Archive.read(tmp_path / "three").results()
    gone = {r.id for r in whole.records if "fourier" in str(r.task)}
    assert {r.id for r in whole.records} - gone == {r.id for r in left.records}
    with pytest.raises(StoreError, match="no model 'fourier'"):
        archive.remove("fourier")
    Archive.read(tmp_path / "three").add(whole)
    same(Archive.read(tmp_path / "three").results(), whole)


def test_removing_the_newest_model_gives_back_the_images_that_lay_with_it(whole, tmp_path):
    for model in ("fourier", "convnet", "reup-hw4"):
        Archive.read(tmp_path).add(whole, [model])
    archive = Archive.read(tmp_path)
    entry, own = archive.entries["reup-hw4"], archive.entries["fourier"].adversarial
    of, kept = next((of, one) for of, one in own.items() if of[0] == "fourier")
    again = Adversarial(kept.image.copy(), kept.x_adv.copy())  # as a transfer's are, where equal
    archive.entries["reup-hw4"] = replace(entry, adversarial={**entry.adversarial, of: again})
    archive.remove("reup-hw4")
    left = Archive.read(tmp_path)
    assert sorted(left.entries) == ["convnet", "fourier"]
    assert np.array_equal(left.entries["fourier"].adversarial[of].image, kept.image)


def test_what_is_here_is_never_changed_by_what_is_added(whole, tmp_path):
    Archive(tmp_path).add(whole, ["convnet"])
    before = files(tmp_path)
    better = tuple(
        record.model_copy(update={"cost": record.cost.model_copy(update={"forward": 1})})
        for record in whole.records
    )
    assert Archive.read(tmp_path).add(replace(whole, records=better), ["convnet"]) == []
    assert files(tmp_path) == before
    other = tuple(record.model_copy(update={"weights": "0" * 64}) for record in whole.records)
    with pytest.raises(StoreError, match=r"other weights .* raise the model's revision"):
        Archive.read(tmp_path).add(replace(whole, records=other))


def test_what_is_done_takes_the_place_of_what_was_not(whole, tmp_path):
    def undone(record):
        if record.task.kind != "transfer":
            return record
        failed = {"status": "failed", "reason": "why", "metrics": None, "outcomes": None}
        return record.model_copy(update=failed)

    broken = replace(whole, records=tuple(map(undone, whole.records)))
    for model in ("fourier", "convnet", "reup-hw4"):  # another order than that of names
        Archive.read(tmp_path).add(broken, [model])
    places = {name: set(e.outcomes) for name, e in Archive.read(tmp_path).entries.items()}
    assert Archive.read(tmp_path).add(whole) == ["convnet", "reup-hw4"]  # where they lay
    same(Archive.read(tmp_path).results(), whole)
    assert all(
        places[name] <= set(e.outcomes) for name, e in Archive.read(tmp_path).entries.items()
    )
    before = files(tmp_path)
    assert Archive.read(tmp_path).add(broken) == []
    assert files(tmp_path) == before


def test_only_the_models_that_are_named_are_taken(whole, tmp_path):
    attack = next(
        record
        for record in whole.records
        if record.task.kind == "attack" and record.task.model.name == "fourier"
    )
    fewer = replace(whole, records=tuple(r for r in whole.records if r is not attack))
    Archive(tmp_path).add(fewer, ["fourier"])
    before = files(tmp_path / "fourier")
    assert Archive.read(tmp_path).add(whole, ["convnet"]) == ["convnet"]
    assert files(tmp_path / "fourier") == before
    assert Archive.read(tmp_path).add(whole, ["fourier"]) == ["fourier"]
    assert attack in Archive.read(tmp_path).entries["fourier"].records


def test_a_new_revision_takes_the_place_of_the_old_one(whole, tmp_path):
    Archive(tmp_path).add(whole, ["fourier", "convnet"])

    def raised(record):
        model = record.task.model
        if model.name != "convnet" or record.task.kind == "transfer":
            return None
        task = record.task.model_copy(update={"model": model.model_copy(update={"revision": 2})})
        return record.model_copy(update={"task": task.model_validate(task.model_dump())})

    records = tuple(new for record in whole.records if (new := raised(record)) is not None)
    by_task = {new.id: old for old in whole.records if (new := raised(old)) is not None}
    cards = {"convnet": whole.cards["convnet"].model_copy(update={"revision": 2})}
    newer = replace(
        whole,
        records=tuple(sorted(records, key=lambda record: record.id)),
        cards=cards,
        columns=lambda record: whole.columns(by_task[record.id]),
    )
    assert Archive.read(tmp_path).add(newer) == ["convnet"]
    found = Archive.read(tmp_path)
    assert found.entries["convnet"].card.revision == 2
    names = {r.task.source.name for r in found.results().records if r.task.kind == "transfer"}
    assert names == set()


def test_results_of_other_images_or_protocols_do_not_mix(whole, tmp_path):
    Archive(tmp_path / "a").add(whole, ["convnet"])
    run(replace(SMALL, models=("fourier",), seeds=(0,), limit=5), tmp_path / "few")
    with pytest.raises(StoreError, match="other images"):
        Archive.read(tmp_path / "a").add(RunStore(tmp_path / "few").results())
    author = replace(SMALL, models=("fourier",), seeds=(0,), limit=20, protocol="wendlinger2024")
    run(author, tmp_path / "author")
    with pytest.raises(StoreError, match="another protocol"):
        Archive.read(tmp_path / "a").add(RunStore(tmp_path / "author").results())


def damage_link(folder: Path) -> None:
    shutil.move(folder / "card.toml", folder.parent.parent / "elsewhere.toml")
    (folder / "card.toml").symlink_to(folder.parent.parent / "elsewhere.toml")


DAMAGES = {
    "missing": lambda folder: (folder / "images.npz").unlink(),
    "foreign": lambda folder: (folder / "run.sh").write_text("echo"),
    "link": damage_link,
    "empty": lambda folder: (folder / "records.jsonl.gz").write_bytes(b""),
    "changed": lambda folder: (folder / "images.npz").write_bytes(b"PK"),
    "card": lambda folder: (folder / "card.toml").write_text("name = 'x"),
    "elsewhere": lambda folder: folder.rename(folder.with_name("fourier")),
    "hidden": lambda folder: folder.rename(folder.with_name(".convnet")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_clear_line_that_names_the_file(whole, tmp_path, damage):
    Archive(tmp_path / "a").add(whole, ["convnet"])
    DAMAGES[damage](tmp_path / "a" / "convnet")
    with pytest.raises(StoreError) as raised:
        Archive.read(tmp_path / "a")
    assert str(tmp_path / "a") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_is_opened_for_what_it_is(whole, tmp_path):
    Archive(tmp_path / "results" / "glyphs-linf-v1").add(whole)
    assert boards(tmp_path / "results") == [tmp_path / "results" / "glyphs-linf-v1"]
    same(open_results(tmp_path / "results"), whole)
    Archive(tmp_path / "results" / "other").add(whole)
    with pytest.raises(StoreError, match="several boards"):
        open_results(tmp_path / "results")
    with pytest.raises(StoreError, match="name the folder of a run or an archive"):
        open_results(tmp_path / "nothing")


WRONG_IMAGES = {
    "beyond": lambda a: a | {"x_adv": np.full_like(a["x_adv"], 255), "values": a["values"][:, :9]},
    "three bytes": lambda a: a | {"x_adv": np.zeros((3, *a["x_adv"].shape[1:]), np.uint8)},
    "no bytes": lambda a: a | {"x_adv": a["x_adv"].astype(np.int16)},
    "numbers": lambda a: a | {"values": a["values"][0].astype(np.float32)},
    "half": lambda a: {name: a[name] for name in ("image", "x_adv")},
    "unsorted": lambda a: a | {"image": a["image"][::-1]},
    "fewer": lambda a: a | {"image": a["image"][1:]},
    "other numbers": lambda a: a | {"image": a["image"].astype(np.int64)},
    "more": lambda a: a | {"z": a["image"]},
}


@pytest.mark.parametrize("damage", WRONG_IMAGES)
def test_damaged_images_in_an_archive_are_one_clear_line(whole, tmp_path, damage):
    Archive(tmp_path).add(whole, ["convnet"])
    path, card = tmp_path / "convnet" / "images.npz", tmp_path / "convnet" / "card.toml"
    content = path.read_bytes()
    found = from_npz(content, "images")
    own = {name.split(".")[1]: found.pop(name) for name in list(found) if "convnet@0." in name}
    assert len(own["image"]) > 1
    forged = to_npz(found | {f"convnet@0.{n}": a for n, a in WRONG_IMAGES[damage](own).items()})
    path.write_bytes(forged)
    old, new = (hashlib.sha256(one).hexdigest() for one in (content, forged))
    card.write_text(card.read_text().replace(old, new))
    with pytest.raises(StoreError, match=r"images\.npz is damaged: ") as raised:
        Archive.read(tmp_path)
    assert "\n" not in str(raised.value)
