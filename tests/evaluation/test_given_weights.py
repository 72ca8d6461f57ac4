"""Weights that were trained elsewhere: read, checked, evaluated, and named in the records."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_runs import run
from torch import nn

from qbench.datasets.base import load_data
from qbench.errors import UsageError, WeightsError
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.verification import verify
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench.weights.files import fingerprint
from qbench.weights.given import WeightsFile

PLUGIN = """
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec

@hookimpl
def qbench_models():
    yield ModelSpec(name="mine", description="a linear model", factory=f"{__name__}:Linear",
                    family="classical", structure="linear", weights=WEIGHTS)

class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)
"""


def prototypes() -> nn.Linear:
    """A linear classifier by hand: scores are distances to the class means, x·m − ‖m‖²/2."""
    train = load_data("glyphs").train
    means = torch.stack([train.x[train.y == k].mean(0) for k in range(4)])
    model = nn.Linear(256, 4)
    with torch.no_grad():
        model.weight.copy_(means)
        model.bias.copy_(-means.square().sum(1) / 2)
    return model


def plugin(folder: Path, weights: object) -> PluginFile:
    path = folder / (re.sub(r"\W", "_", f"given_{folder.name}") + ".py")  # one name a test
    path.write_text(PLUGIN.replace("WEIGHTS", repr(weights)))
    return PluginFile.read(path)


def selection(file: PluginFile, **about) -> RunSelection:
    return RunSelection(
        models=("mine",), certifiers=(), eps=(0.1,), limit=20, plugins=(file,), **about
    )


@pytest.mark.parametrize("kind", ["state dict", "safetensors", "double"])
def test_a_model_is_evaluated_with_the_weights_handed_in(tmp_path, kind):
    model = prototypes()
    state = model.double().state_dict() if kind == "double" else model.state_dict()
    if kind == "safetensors":
        safetensors.torch.save_file(state, tmp_path / "own")
    else:
        torch.save(state, tmp_path / "own")
    file = plugin(tmp_path, "own")
    _, records = run(selection(file), tmp_path / "run")
    assert [(r.task.kind, r.task.model.seed, r.status) for r in records] == [
        (kind, 0, "done") for kind in ("training", "attack", "checks", "fresh")
    ]
    assert records[0].metrics.weights_from == "file"
    assert (records[0].metrics.file, records[0].metrics.loss) == ("own", [])
    single = prototypes().state_dict()
    assert {record.weights for record in records} == {fingerprint(single)}
    test = load_data("glyphs").test
    right = (prototypes()(test.x[:20]).argmax(1) == test.y[:20]).double().mean().item()
    assert records[1].metrics.clean_accuracy == right
    assert 0.5 < right < 1
    (card,) = RunStore(tmp_path / "run").results().cards.values()
    assert card.recipe.epochs == 0
    assert card.tuning == "not trained here: its weights were handed in"


def test_other_weights_give_other_results_and_the_same_ones_are_not_done_again(tmp_path):
    torch.save(prototypes().state_dict(), tmp_path / "own.pt")
    file, folder = plugin(tmp_path, {0: "own.pt", 3: "other.pt"}), tmp_path / "run"
    torch.save(nn.Linear(256, 4).state_dict(), tmp_path / "other.pt")
    _, first = run(selection(file, seeds=(0, 3)), folder)
    _, again = run(selection(file, seeds=(0, 3)), folder)
    assert again == first
    changed = {k: 2 * v for k, v in prototypes().state_dict().items()}
    torch.save(changed, tmp_path / "own.pt")
    _, third = run(selection(file, seeds=(0, 3)), folder)
    for old, new in zip(first, third, strict=True):
        assert old.id == new.id
        assert (old == new) == (old.task.model.seed == 3)
    assert {r.weights for r in third if r.task.model.seed == 0} == {fingerprint(changed)}


def test_a_file_on_the_command_line_replaces_training(qbench_cli, tmp_path):
    torch.save(prototypes().state_dict(), tmp_path / "own.pt")
    file = plugin(tmp_path, None)
    asked = ("--plugin", file.path, "--models", "mine", "--weights", "mine=own.pt")
    small = ("--limit", "8", "--eps", "0.1", "--jobs", "1")
    result = qbench_cli("run", *asked, *small, "--out", "run")
    assert result.returncode == 0, result.stderr
    assert "mine: weights of seed 0 only were handed in" in result.stderr
    page = (tmp_path / "run" / "leaderboard" / "README.md").read_text()
    assert "not trained here: its weights were handed in" in page
    (training,) = [r for r in RunStore(tmp_path / "run").records() if r.task.kind == "training"]
    assert (training.metrics.file, training.task.model.seed) == ("own.pt", 0)
    assert verify(tmp_path / "run", plugins=(file,)).problems == []
    result = qbench_cli("train", *asked, "--out", "zoo")
    assert result.returncode == 0, result.stderr
    kept = qbench_cli("verify", "run", "--weights", "zoo", "--plugin", file.path)
    assert "no problems" in kept.stdout
    assert qbench_cli("check", "mine", *asked[:2], *asked[4:]).returncode in (0, 1)
    result = qbench_cli("run", *asked[:-1], "fourier=own.pt", *small)
    assert (result.returncode, "no such model is selected" in result.stderr) == (2, True)


def test_one_seed_of_an_archive_is_enough_where_weights_were_handed_in(tmp_path):
    torch.save(prototypes().state_dict(), tmp_path / "own.pt")
    file = plugin(tmp_path, "own.pt")
    run(selection(file), tmp_path / "run")
    problems = verify(tmp_path / "run", plugins=(file,)).problems
    assert problems == []


def saved(content: bytes):
    return lambda path: path.write_bytes(content)


class Evil:
    def __reduce__(self):
        return (open, ("pwned", "w"))


def good() -> dict[str, torch.Tensor]:
    return prototypes().state_dict()


WHOLE = safetensors.torch.save(nn.Linear(256, 4).state_dict())
DAMAGED = {
    "missing": (lambda path: None, "cannot read .*own.pt: No such file"),
    "pickle": (saved(pickle.dumps({"weight": Evil()})), "which could run code and is not read"),
    "torch pickle": (lambda path: torch.save({"weight": Evil()}, path), "which could run code"),
    "empty": (saved(b""), "no safetensors file and no state dict of torch, or damaged"),
    "text": (saved(b"weights"), "which could run code|or damaged"),
    "cut short": (saved(WHOLE[:-5]), "damaged, as when cut short"),
    "tensor": (lambda path: torch.save(torch.zeros(3), path), "no state dict but a Tensor: save"),
    "nested": (
        lambda path: torch.save({"epoch": 3, "model": good()}, path),
        "no state dict but a mapping with 'epoch', 'model': save model.state_dict",
    ),
    "other names": (
        lambda path: torch.save({"w": good()["weight"], "bias": good()["bias"]}, path),
        r"own.pt do not fit mine: they lack 'weight' and have 'w' \(1 names are missing, 1 are",
    ),
    "shape": (
        lambda path: torch.save({**good(), "bias": torch.zeros(10)}, path),
        r"'bias' has shape \(10,\), the model's has \(4,\)",
    ),
    "type": (
        lambda path: torch.save({**good(), "bias": torch.zeros(4).long()}, path),
        "'bias' is torch.int64, the model's is torch.float32",
    ),
    "not finite": (
        lambda path: torch.save({**good(), "bias": torch.full((4,), torch.nan)}, path),
        "parameter 'bias' is not finite",
    ),
    "too large for single precision": (
        lambda path: torch.save(
            {**good(), "bias": torch.full((4,), 1e300, dtype=torch.double)}, path
        ),
        "parameter 'bias' is not finite",
    ),
}


@pytest.mark.parametrize(("write", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_files_that_are_refused_before_anything_runs(tmp_path, monkeypatch, write, reason):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own.pt")
    chosen = selection(plugin(tmp_path, "own.pt"))
    with pytest.raises(WeightsError) as refused:
        make_plan(chosen)
    assert re.search(reason, str(refused.value))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "pwned").exists()


def test_seeds_without_weights(tmp_path):
    torch.save(good(), tmp_path / "own.pt")
    file, notes = plugin(tmp_path, {2: "own.pt"}), []
    tasks = make_plan(selection(file, seeds=(1, 2)), note=notes.append)
    assert {task.identity.model.seed for task in tasks} == {2}
    assert notes == ["mine: weights of seed 2 only were handed in"]
    with pytest.raises(UsageError, match="mine has weights for seed 2 and none for seed 0: choose"):
        make_plan(selection(file, seeds=(0,)))
    both = (WeightsFile("mine", 0, tmp_path / "own.pt"),)
    assert make_plan(selection(file, seeds=(0,), weights=both))


@pytest.mark.parametrize("text", ["mine", "=own.pt", "mine=", "mine:x=own.pt", "mine:=own.pt"])
def test_what_names_no_weights(text):
    with pytest.raises(UsageError, match=r"give MODEL=FILE, or MODEL:SEED=FILE"):
        WeightsFile.parse(text)
    assert WeightsFile.parse("m:3=a=b") == WeightsFile("m", 3, Path("a=b"))
