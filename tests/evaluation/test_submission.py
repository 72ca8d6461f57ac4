"""Submissions: an honest one passes both stages, and every hostile one is refused, with its reason.

They are made under a protocol of 60 images and two seeds, which a maintainer's plugin provides.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from small_runs import run
from tampering import cut, edited, first, read, rehashed, swap, write

import qbench.report.submission as packing
from qbench.errors import QbenchError, StoreError, UsageError
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.verdict import Verdict
from qbench.evaluation.verification import verify
from qbench.plugin_files import PluginFile
from qbench.records.entry import Entry, read_entry, write_entry
from qbench.records.results import Adversarial
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.report import verdict as found

HERE = Path(__file__).parent
PROTOCOL = """
name = "tiny"
description = "60 images, two seeds"
seeds = [0, 1]
[dataset]
name = "glyphs"
split = "test"
n = 60
[threat_model]
norm = "linf"
eps = [0.1, 0.2]
box = [0.0, 1.0]
[ranking]
eps = 0.1
[attacks.pgd]
steps = 10
"""
PLUGIN = '''
from qbench.hookspecs import hookimpl
from qbench.specs import ProtocolSpec

CONTENT = """{content}""".encode()


def content():
    return CONTENT


@hookimpl
def qbench_protocols():
    yield ProtocolSpec(
        name="tiny", description="tiny", factory=f"{{__name__}}:content", sha256="{sha256}"
    )
'''


@dataclass(frozen=True)
class Made:
    """Runs and the honest submission.

    Args:
        root: Where they lie.
        protocol: The maintainer's plugin.
    """

    root: Path
    protocol: PluginFile

    def plugin(self, name: str) -> PluginFile:
        """A contributor's plugin."""
        return PluginFile.read(self.root / f"{name}.py")

    def pack(self, name: str, out: Path, plugin: str = "hostile") -> None:
        """Submit one model."""
        files = (self.protocol, self.plugin(plugin))
        packing.pack(RunStore(self.root / plugin), [name], out, plugins=files)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("submission")
    sha256 = hashlib.sha256(PROTOCOL.encode()).hexdigest()
    (root / "tiny_protocol.py").write_text(PLUGIN.format(content=PROTOCOL, sha256=sha256))
    protocol = PluginFile.read(root / "tiny_protocol.py")
    made = Made(root, protocol)
    for name, models in (
        ("hostile", ("honest", "detects", "remembers")),
        ("patching", ("patches",)),
    ):
        shutil.copy(HERE / f"{name}.py", root / f"{name}.py")
        selection = RunSelection(
            models=models, protocol="tiny", certifiers=(), plugins=(protocol, made.plugin(name))
        )
        run(selection, root / name)
    made.pack("honest", root / "sent")
    return made


@pytest.fixture
def sent(made, tmp_path):
    """A copy of the honest submission."""
    return Path(shutil.copytree(made.root / "sent", tmp_path / "sent"))


def without_code(made: Made, folder: Path) -> Verdict:
    """The job that runs none of the contributor's code."""
    verdict = verify(folder, plugins=(made.protocol,))
    if not verdict.problems:
        verdict.problems += packing.blocked(folder, (made.protocol,))
    return verdict


def with_code(made: Made, folder: Path, again: int = 0, plugin: str = "hostile") -> Verdict:
    """The job that loads the plugin, which its user names: one file a process, so not the copy."""
    return verify(folder, plugins=(made.protocol, made.plugin(plugin)), again=again)


def test_an_honest_submission_passes_both_stages(made, sent, monkeypatch):
    verdict = with_code(made, sent, again=30)
    assert verdict.problems == []
    assert verdict.counts["clean images scored again"] == 2 * 60
    assert verdict.counts["images attacked again"] == 2 * 30
    assert any("pgd:restarts=5:steps=30" in note for note in verdict.notes)

    monkeypatch.setattr("qbench.registry.import_file", only_the_protocol(made))
    load_registry.cache_clear()
    verdict = without_code(made, sent)
    assert verdict.problems == []
    assert verdict.counts["clean images scored again"] == 0
    assert "honest: plugin 'hostile' is not loaded, so nothing was asked of the model" in (
        verdict.notes
    )


def only_the_protocol(made: Made):
    from qbench.plugin_files import import_file

    def guarded(file: PluginFile):
        assert file == made.protocol, "the contributor's plugin was loaded"
        return import_file(file)

    return guarded


def test_a_submission_holds_what_it_says(made, sent):
    assert sorted(str(p.relative_to(sent)) for p in sent.rglob("*") if p.is_file()) == [
        "README.md",
        "plugins/hostile/hostile.py",
        *(
            f"results/tiny/honest/{name}"
            for name in ("card.toml", "images.npz", "records.jsonl.gz")
        ),
        "weights/honest-seed0.safetensors",
        "weights/honest-seed1.safetensors",
        "weights/manifest.json",
    ]
    text = (sent / "README.md").read_text()
    assert made.plugin("hostile").sha256 in text
    assert "Apache-2.0" in text


# What is done to the entry of the model; hashes are made right again.


def entry_of(folder: Path) -> Path:
    return folder / "results" / "tiny" / "honest"


def a_metric(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(robust_accuracy=1.0)))


def an_image_outside_the_ball(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    moved = kept.x_adv.copy()
    moved[0] = np.clip(moved[0] + 0.2, 0, 1)
    return replace(entry, adversarial={**entry.adversarial, of: Adversarial(kept.image, moved)})


def an_image_left_out(entry: Entry) -> Entry:
    (of, kept), *_ = entry.adversarial.items()
    fewer = Adversarial(kept.image[1:], kept.x_adv[1:])
    return replace(entry, adversarial={**entry.adversarial, of: fewer})


def an_image_that_breaks_nothing(entry: Entry) -> Entry:
    from qbench.datasets.base import load_data

    (of, kept), *_ = entry.adversarial.items()
    clean = kept.x_adv.copy()
    clean[0] = load_data("glyphs").test.x[int(kept.image[0])]
    return replace(entry, adversarial={**entry.adversarial, of: Adversarial(kept.image, clean)})


def every(entry: Entry, edit) -> Entry:
    for record in entry.records:
        entry = swap(entry, record, edited(record, edit))
    return entry


def another_protocol(entry: Entry) -> Entry:
    return every(entry, lambda v: v["task"]["protocol"].update(name="wendlinger2024"))


def an_easier_protocol(entry: Entry) -> Entry:
    return every(entry, lambda v: v["task"]["protocol"].update(sha256="0" * 64))


def a_seed_dropped(entry: Entry) -> Entry:
    kept = tuple(record for record in entry.records if record.task.model.seed != 1)
    ids = {record.id for record in kept}
    outcomes = {k: v for k, v in entry.outcomes.items() if k in ids}
    adversarial = {of: one for of, one in entry.adversarial.items() if of[1] != 1}
    return replace(entry, records=kept, outcomes=outcomes, adversarial=adversarial)


def one_budget_only(entry: Entry) -> Entry:
    for record in [r for r in entry.records if getattr(r.task, "eps", 0) == 0.2]:
        entry = swap(entry, record, None)
    return entry


def other_labels(entry: Entry) -> Entry:
    record = first(entry, "attack")
    label = (entry.outcomes[record.id]["label"] + 1) % 4
    return swap(entry, record, record, label=label.astype(np.int16))


def one_step_called_pgd(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    return swap(
        entry, record, edited(record, lambda v: v["task"]["attack"]["params"].update(steps=1))
    )


def a_radius(entry: Entry) -> Entry:
    """A certificate within 0.15 of every image, under a structure that it is made for."""
    attack = first(entry, "attack", eps=0.1)
    columns = entry.outcomes[attack.id]
    right = columns["clean_prediction"] == columns["label"]
    certificate = {
        "label": columns["label"],
        "prediction": columns["clean_prediction"],
        "radius": np.where(right, 0.15, 0.0),
    }

    def forge(values: dict) -> None:
        task = values["task"]
        method = {"name": "convnet-linear", "params": {}}
        values["task"] = {
            **{key: task[key] for key in ("protocol", "data", "model", "norm")},
            "kind": "radii",
            "certifier": method,
            "eps": [0.1, 0.2],
        }
        values.pop("label")
        values["metrics"] = {
            "clean_accuracy": float(right.mean()),
            "certified_accuracy": [float(right.mean()), 0.0],
            "confidence": 1.0,
        }
        from qbench.records.columns import fingerprint

        values["outcomes"] = fingerprint(certificate)

    record = edited(attack, forge)
    records = tuple(sorted((*entry.records, record), key=lambda one: one.id))
    return replace(
        entry,
        records=records,
        outcomes={**entry.outcomes, record.id: certificate},
        card=entry.card.model_copy(update={"structure": "convnet"}),
    )


def a_result_of_somebody_elses(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.2)
    return swap(entry, record, edited(record, lambda v: v["task"]["model"].update(name="convnet")))


def no_such_class(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    columns = entry.outcomes[record.id]
    broken = columns["adversarial_prediction"] != columns["label"]
    assert broken.any()
    other = np.where(broken, np.int16(17), columns["adversarial_prediction"])
    return swap(entry, record, record, adversarial_prediction=other)


def weak_on_new_images(entry: Entry) -> Entry:
    record = first(entry, "fresh")
    return swap(
        entry, record, edited(record, lambda v: v["task"]["attack"]["params"].update(steps=1))
    )


def all_checked_by_chance(entry: Entry) -> Entry:
    record = first(entry, "checks")
    return swap(entry, record, edited(record, lambda v: v["metrics"].update(chance=1.0)))


def said_to_be_noisy(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)
    return swap(entry, record, edited(record, lambda v: v.update(device={"name": "a device"})))


def skipped(entry: Entry) -> Entry:
    record = first(entry, "attack", eps=0.1)

    def skip(values: dict) -> None:
        values.update(status="skipped", reason="cannot be done")
        del values["metrics"], values["outcomes"], values["weights"]

    return swap(entry, record, edited(record, skip))


def other_data(entry: Entry) -> Entry:
    return every(entry, lambda v: v["task"]["data"].update(name="mnist4"))


def no_checks(entry: Entry) -> Entry:
    for record in [r for r in entry.records if r.task.kind == "checks"]:
        entry = swap(entry, record, None)
    return entry


def another_recipe(entry: Entry) -> Entry:
    recipe = entry.card.recipe.model_copy(update={"epochs": 9})
    return replace(entry, card=entry.card.model_copy(update={"recipe": recipe}))


def a_family(entry: Entry) -> Entry:
    return replace(entry, card=entry.card.model_copy(update={"family": "quantum"}))


def fewer_parameters(entry: Entry) -> Entry:
    return replace(entry, card=entry.card.model_copy(update={"parameters": 12}))


def all_images_robust(entry: Entry) -> Entry:
    """As if nothing had broken anything: metrics, hashes and kept images fit."""
    for record in [r for r in entry.records if r.task.kind == "attack"]:
        columns = entry.outcomes[record.id]
        clean = columns["clean_prediction"]
        share = float((clean == columns["label"]).mean())
        accuracies = {"robust_accuracy": share, "adversarial_accuracy": share}
        entry = swap(
            entry,
            record,
            edited(record, lambda v, new=accuracies: v["metrics"].update(new)),
            adversarial_prediction=clean,
            adversarial_margin=columns["clean_margin"],
        )
    none = {of: Adversarial(one.image[:0], one.x_adv[:0]) for of, one in entry.adversarial.items()}
    return replace(entry, adversarial=none)


ENTRIES = {
    a_metric: ("robust accuracy 1.0, its images give", False),
    an_image_outside_the_ball: ("from its original, ε is 0.1", False),
    an_image_left_out: ("was broken, and not kept", False),
    an_image_that_breaks_nothing: ("is classified correctly, with margin", True),
    another_protocol: ("another protocol", False),
    an_easier_protocol: ("another protocol, or a changed one", False),
    a_seed_dropped: (r"lacks seeds \[1\] of the protocol", False),
    one_budget_only: (r"no pgd at ε = 0.2 for some seeds", False),
    other_labels: ("image 0 has label", False),
    one_step_called_pgd: ("it is called pgd, its parameters make it pgd:.*steps=1", False),
    a_radius: ("certifies image .* within 0.15 in linf, and pgd breaks it at 0.1", False),
    a_result_of_somebody_elses: ("its model has no card", False),
    no_such_class: ("adversarial prediction is none of the 4 classes", False),
    weak_on_new_images: ("new images were attacked by another pgd than the protocol's", False),
    all_checked_by_chance: ("chance is 1, there are 4 classes", False),
    said_to_be_noisy: ("said not to be exact, and it ran on the model's own engine", False),
    skipped: ("pgd was skipped, and nothing in the specs keeps it from being done", True),
    other_data: ("its data are 'mnist4', the protocol's are 'glyphs'", False),
    no_checks: ("was attacked, and there is no checks of it", False),
    another_recipe: ("the recipe of its weights is", False),
    a_family: ("family is 'quantum', its plugin says 'classical'", True),
    fewer_parameters: ("parameters is 12, its plugin says 1028", True),
    all_images_robust: ("images that stand on record fall to pgd:restarts=5:steps=30", True),
}


@pytest.mark.parametrize("tamper", ENTRIES, ids=lambda tamper: tamper.__name__)
def test_a_forged_entry_is_refused_with_its_reason(made, sent, tamper):
    reason, needs_code = ENTRIES[tamper]
    entry = tamper(read_entry(entry_of(sent)))
    write_entry(entry_of(sent).parent, "honest", entry)
    verdict = with_code(made, sent, again=60) if needs_code else without_code(made, sent)
    assert any(re.search(reason, problem) for problem in verdict.problems), verdict.problems[:5]


# What is done to files.


def text(folder: Path, old: bytes, new: bytes) -> None:
    cut(entry_of(folder) / "records.jsonl.gz", old, new)
    rehashed(entry_of(folder))


def a_bomb_of_records(folder: Path) -> None:
    write(entry_of(folder) / "records.jsonl.gz", b" " * 65 * 2**20)
    rehashed(entry_of(folder))


def a_bomb(folder: Path) -> None:
    """Small, and 257 MiB of zeros when it is read."""
    path = entry_of(folder) / "images.npz"
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (257 * 2**17,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("radius.1.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(257):
            member.write(b"\0" * 2**20)
    rehashed(entry_of(folder))


def a_pickle_of_arrays(folder: Path) -> None:
    content = io.BytesIO()
    np.savez(content, label=np.array([{"a": 1}], dtype=object))
    (entry_of(folder) / "images.npz").write_bytes(content.getvalue())
    rehashed(entry_of(folder))


class Opens:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def weights(folder: Path, seed: int, content: bytes) -> None:
    name = f"honest-seed{seed}.safetensors"
    (folder / "weights" / name).write_bytes(content)
    path = folder / "weights" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest))


def a_pickle_of_weights(folder: Path) -> None:
    weights(folder, 0, pickle.dumps(Opens(folder.parent / "opened")))


def a_state_dict_of_torch(folder: Path) -> None:
    content = io.BytesIO()
    torch.save({"weight": Opens(folder.parent / "opened")}, content)
    (folder / "weights" / "honest-seed0.pt").write_bytes(content.getvalue())
    path = folder / "weights" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["honest-seed0.pt"] = hashlib.sha256(content.getvalue()).hexdigest()
    path.write_text(json.dumps(manifest))


def nested() -> bytes:
    return safetensors.torch.save({"weights/x": torch.zeros(1)}, {"qbench": "[" * 100_000})


def swapped_weights(folder: Path) -> None:
    weights(folder, 0, (folder / "weights" / "honest-seed1.safetensors").read_bytes())


def changed_weights(folder: Path) -> None:
    path = folder / "weights" / "honest-seed0.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")


def no_weights(folder: Path) -> None:
    shutil.rmtree(folder / "weights")


def weights_that_climb(folder: Path) -> None:
    content = safetensors.torch.save({"weights/x": torch.zeros(1)})
    (folder.parent / "outside.safetensors").write_bytes(content)
    path = folder / "weights" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../../outside.safetensors"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest))


def a_link(folder: Path) -> None:
    path = entry_of(folder) / "images.npz"
    shutil.move(path, folder.parent / "elsewhere.npz")
    path.symlink_to(folder.parent / "elsewhere.npz")


def a_linked_folder(folder: Path) -> None:
    shutil.move(folder / "weights", folder.parent / "elsewhere")
    (folder / "weights").symlink_to(folder.parent / "elsewhere")


def a_pipe(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


def a_pipe_as_a_record(folder: Path) -> None:
    (entry_of(folder) / "records.jsonl.gz").unlink()
    os.mkfifo(entry_of(folder) / "records.jsonl.gz")


def another_plugin(folder: Path) -> None:
    path = folder / "plugins" / "hostile" / "hostile.py"
    path.write_text(path.read_text() + "\nprint('mine')\n")


def a_plugin_that_nobody_names(folder: Path) -> None:
    (folder / "plugins" / "other").mkdir()
    (folder / "plugins" / "other" / "other.py").write_text("import os\n")


def a_module_that_nobody_imports(folder: Path) -> None:
    (folder / "plugins" / "hostile" / "conftest.py").write_text("raise SystemExit(1)\n")


def a_script(folder: Path) -> None:
    (folder / "setup.py").write_text("raise SystemExit(1)\n")


def markup_as_a_name(folder: Path) -> None:
    cut(entry_of(folder) / "card.toml", b'name = "honest"', b'name = "<b>honest</b>"')


def a_folder_with_markup(folder: Path) -> None:
    entry_of(folder).rename(entry_of(folder).with_name("a [link](x)"))


def twice_the_record(folder: Path) -> None:
    path = entry_of(folder) / "records.jsonl.gz"
    lines = read(path).splitlines(keepends=True)
    write(path, lines[0] + b"".join(lines))
    rehashed(entry_of(folder))


def deep(folder: Path) -> None:
    text(folder, b'"metrics":{', b'"metrics":' + b"[" * 100_000 + b"{")


FILES = {
    "a bomb of records": (a_bomb_of_records, "records.jsonl.gz would inflate to more than 64 MiB"),
    "an archive bomb": (a_bomb, "would inflate to more than 256 MiB"),
    "a pickle of arrays": (a_pickle_of_arrays, "holds object, not plain numbers"),
    "a pickle of weights": (a_pickle_of_weights, "holds no qbench weights"),
    "a state dict of torch": (a_state_dict_of_torch, "only safetensors are taken"),
    "swapped weights": (swapped_weights, "other weights than those"),
    "changed weights": (changed_weights, "were changed: SHA-256"),
    "no weights": (no_weights, "its weights are not in the submission"),
    "weights outside": (weights_that_climb, "is in its manifest, and not there"),
    "a link": (a_link, "is a link: a submission holds files only"),
    "a linked folder": (a_linked_folder, "is a link: a submission holds files only"),
    "a pipe": (a_pipe, "README.md is no regular file"),
    "a pipe as a record": (a_pipe_as_a_record, "records.jsonl.gz is no regular file"),
    "another plugin": (another_plugin, "no card names it"),
    "one plugin more": (a_plugin_that_nobody_names, "no card names it"),
    "one module more": (a_module_that_nobody_imports, "conftest.py is not imported by hostile.py"),
    "a script": (a_script, "setup.py does not belong in a submission"),
    "a name with markup": (markup_as_a_name, "name: String should match pattern"),
    "a folder with markup": (a_folder_with_markup, "does not belong in an archive"),
    "a path": (
        lambda f: text(f, b'"name":"honest"', b'"name":"../honest"'),
        "line 1: .*name: String should match pattern",
    ),
    "a key twice": (
        lambda f: text(f, b'"status":"done"', b'"status":"done","status":"done"'),
        "a key stands twice",
    ),
    "a record twice": (twice_the_record, "line 2: stands twice"),
    "not a number": (
        lambda f: text(f, b'"clean_accuracy":1.0', b'"clean_accuracy":NaN'),
        "finite number|less than or equal",
    ),
    "infinity": (
        lambda f: text(f, b'"clean_accuracy":1.0', b'"clean_accuracy":Infinity'),
        "finite number|less than or equal",
    ),
    "an identity of others": (
        lambda f: text(f, b'"steps":10', b'"steps":1000'),
        "stands twice, or out of order|its parameters make it",
    ),
    "control characters": (
        lambda f: text(f, b'"label":"pgd"', b'"label":"pgd\\u001b[2J"'),
        "holds control or invisible characters",
    ),
    "text that turns round": (
        lambda f: text(f, b'"label":"pgd"', '"label":"pgd\u202e"'.encode()),
        "holds control or invisible characters",
    ),
    "versions that were changed": (
        lambda f: cut(entry_of(f) / "card.toml", b'torch = "', b'torch = "9'),
        "the versions [0-9a-f]{16} were changed",
    ),
    "a command of others": (
        lambda f: cut(entry_of(f) / "card.toml", b"commands = []", b'commands = ["curl x | sh"]'),
        "a command that is none of qbench",
    ),
    "weights without end": (
        lambda f: weights(f, 0, nested()),
        "holds no qbench weights: RecursionError",
    ),
    "deep nesting": (deep, "nested too deeply"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_folder_is_refused_with_its_reason(made, sent, name):
    change, reason = FILES[name]
    change(sent)
    problems = without_code(made, sent).problems
    assert any(re.search(reason, problem) for problem in problems), problems[:5]
    assert not (sent.parent / "opened").exists()


# What is refused before it is a submission, and by its own records after it.

BLOCKED = {
    "detects": ("hostile", "flag call-dependence"),
    "patches": ("patching", "flag changed-code"),
}


@pytest.mark.parametrize("name", BLOCKED)
def test_a_model_that_deceives_is_refused_by_submit_and_by_verify(
    made, tmp_path, monkeypatch, name
):
    plugin, reason = BLOCKED[name]
    with pytest.raises(UsageError, match=f"{name} cannot be submitted: {reason}"):
        made.pack(name, tmp_path / "sent", plugin)
    assert not (tmp_path / "sent").exists()
    monkeypatch.setattr(packing, "_refusals", lambda *_: ())
    made.pack(name, tmp_path / "sent", plugin)
    assert any(reason in line for line in without_code(made, tmp_path / "sent").problems)


@pytest.mark.parametrize("name", BLOCKED)
def test_the_flags_of_a_model_cannot_be_taken_out_of_its_records(made, tmp_path, monkeypatch, name):
    plugin, _ = BLOCKED[name]
    monkeypatch.setattr(packing, "_refusals", lambda *_: ())
    made.pack(name, tmp_path / "sent", plugin)
    root = tmp_path / "sent" / "results" / "tiny"
    entry = read_entry(root / name)
    for record in [r for r in entry.records if r.task.kind == "checks"]:
        none = dict.fromkeys(record.metrics.values, 0.0)
        entry = swap(
            entry, record, edited(record, lambda v, none=none: v["metrics"].update(values=none))
        )
    write_entry(root, name, entry)
    due = {"detects": "call dependence: 0, found 1", "patches": "code changed: 0, found 1"}
    problems = with_code(made, tmp_path / "sent", plugin=plugin).problems
    assert any(due[name] in line for line in problems), problems[:5]


def test_a_model_that_knows_the_images_of_every_run_fails_on_others(made, tmp_path):
    made.pack("remembers", tmp_path / "sent")  # the new images of a run are always the same
    assert without_code(made, tmp_path / "sent").problems == []
    problems = with_code(made, tmp_path / "sent", again=30).problems
    # By chance some of them lie near one that it knows.
    told = re.compile(r"accuracy 1.000 on the protocol's images, 0\.[0-4]\d+ on new ones")
    assert any(told.search(line) for line in problems), problems[:5]


# What `submit` refuses of an honest model.


def test_what_is_missing_is_refused_with_what_to_do(made, tmp_path):
    files = (made.protocol, made.plugin("hostile"))
    for name, selection, reason in (
        ("limit", {"limit": 6, "seeds": (0,), "eps": (0.1,)}, "tried on 6 images of 60: run it"),
        ("seeds", {"seeds": (0,), "attacks": ("fgsm",), "eps": (0.1,)}, r"with seeds \[1\]"),
        ("attack", {"attacks": ("fgsm",)}, "no pgd at ε = 0.1, 0.2 .* --attacks pgd"),
    ):
        folder = tmp_path / name
        run(
            RunSelection(
                models=("honest",), protocol="tiny", certifiers=(), plugins=files, **selection
            ),
            folder,
        )
        with pytest.raises(UsageError, match=f"honest cannot be submitted: .*{reason}"):
            packing.pack(RunStore(folder), ["honest"], tmp_path / "sent", plugins=files)
    store = RunStore(made.root / "hostile")
    with pytest.raises(StoreError, match="no model 'other'"):
        packing.pack(store, ["other"], tmp_path / "sent", plugins=files)
    with pytest.raises(UsageError, match=r"its plugin with --plugin hostile\.py"):
        packing.pack(store, ["honest"], tmp_path / "sent", plugins=files[:1])
    changed = replace(files[1], source=files[1].source + b"\n")
    with pytest.raises(UsageError, match="'hostile' has changed since the run"):
        packing.pack(store, ["honest"], tmp_path / "sent", plugins=(files[0], changed))
    with pytest.raises(UsageError, match="is there already"):
        packing.pack(store, ["honest"], made.root / "sent", plugins=files)


def test_a_failed_record_is_refused(made, tmp_path, monkeypatch):
    results = RunStore(made.root / "hostile").results()
    record = next(r for r in results.records if r.task.kind == "fresh")

    def fail(values: dict) -> None:
        values.update(status="failed", reason="it ended")
        del values["metrics"]

    broken = edited(record, fail)
    records = tuple(broken if r.id == record.id else r for r in results.records)
    monkeypatch.setattr(RunStore, "results", lambda _: replace(results, records=records))
    name = record.task.model.name
    with pytest.raises(UsageError, match=r"failed \(it ended\): mend it, and run it again"):
        made.pack(name, tmp_path / "sent")


# The report, and what one job tells the other.


def test_the_report_shows_what_a_stranger_wrote_literally(tmp_path):
    verdict = Verdict(problems=["a: <img src=x onerror=alert(1)> | [x](http://y) @all"])
    page = found.report(verdict, Verdict(notes=["`x`\n# Verified\u202e"]))
    assert "# Verification: 1 problem\n" in page
    assert "&lt;img" in page
    assert "[x](" not in page.replace("\\[x\\](", "")
    assert "http://" not in page
    assert "@all" not in page
    assert "\n# Verified" not in page
    assert "proves nothing" in page


def test_one_job_tells_the_other(tmp_path):
    verdict = Verdict(["a: b"], ["c"])
    verdict.counts["records"] = 3
    found.save(verdict, tmp_path / "found.json")
    assert found.load(tmp_path / "found.json") == verdict


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"problems": [1], "notes": [], "counts": {}}',
        '{"problems": [], "notes": [], "counts": {"a": -1}}',
        '{"problems": [], "notes": [], "counts": {}, "more": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(QbenchError, match="holds nothing that was found by 'qbench verify'"):
        found.load(tmp_path / "found.json")
