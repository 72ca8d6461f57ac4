"""The run end to end: what it computes, how it fails, and that a kill loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from qbench.calls import parse_attack
from qbench.effort import passes
from qbench.errors import QbenchError, UsageError, WeightsError
from qbench.executors import InProcess, open_executor
from qbench.graph import run_graph
from qbench.plan import RunSelection, make_plan
from qbench.registry import PluginFile, load_registry
from qbench.running import run_task
from qbench.specs import Recipe
from qbench.store import Store

SMALL = RunSelection(models=("convnet", "fourier"), seeds=(0, 1), eps=(0.1, 0.2), limit=12)


def run(selection, folder, executor=None, width=1):
    store, done = Store(folder), []
    tasks = make_plan(selection)
    records = run_graph(
        tasks,
        store,
        executor or InProcess(),
        width=width,
        on_done=lambda task, record: done.append((task.key, record.status)),
    )
    return tasks, records, done


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    tasks, records, _ = run(SMALL, folder)
    return folder, tasks, records


def test_the_plan_is_every_stage_of_every_model(small):
    _, tasks, records = small
    kinds = [task.kind for task in tasks]
    assert kinds.count("training") == 4
    assert kinds.count("robust-accuracy") == 4 * 2
    assert kinds.count("transfer-accuracy") == 4  # only at the ranking budget, same seed
    assert kinds.count("lipschitz") >= 4
    assert kinds.count("diagnosis") == 4
    assert len({task.key for task in tasks}) == len(tasks)
    before = set()
    for task in tasks:
        assert set(task.needs) <= before
        before.add(task.key)
    assert {record.status for record in records} == {"done"}


def test_records_say_what_was_done(small):
    folder, tasks, records = small
    by_key = {record.key: record for record in records}
    task = next(t for t in tasks if (t.kind, t.model, t.eps) == ("robust-accuracy", "convnet", 0.1))
    record = by_key[task.key]
    assert (record.target.model, record.target.parameters, record.target.seed) == (
        "convnet",
        1024,
        0,
    )
    assert record.target.weights_sha256 == by_key[task.needs[0]].target.weights_sha256
    assert record.attack.params["steps"] == 40
    assert (record.threat_model.norm, record.threat_model.eps) == ("linf", 0.1)
    assert record.dataset.n == 12
    assert (record.cost.forward, record.cost.gradient) == (12 * 41, 12 * 40)
    assert passes(task) == (12 * 43, 12 * 40)
    images = Store(folder).images(record)
    robust = (images["clean_prediction"] == images["label"]) & (
        images["adversarial_prediction"] == images["label"]
    )
    assert record.metrics.robust_accuracy == robust.mean()
    assert images["linf"].max() <= 0.1 * (1 + 1e-6)
    assert images["example_x_adv"].shape == (4, 256)
    bounds = [r for r in records if r.task == "lipschitz"]
    assert all(r.metrics.sampled_jacobian <= r.metrics.bound for r in bounds)


def test_results_do_not_depend_on_the_number_of_jobs(small, tmp_path):
    folder, _, _ = small
    with open_executor("local", 2) as executor:
        run(SMALL, tmp_path, executor, width=4)
    ours, theirs = (
        {r.key: r.model_copy(update={"cost": None}) for r in Store(f).records()}
        for f in (folder, tmp_path)
    )
    assert ours == theirs


def test_a_second_run_does_nothing_and_a_lost_record_is_made_again(small):
    folder, tasks, _ = small
    task = next(t for t in tasks if t.kind == "robust-accuracy")
    path = folder / "records" / task.model / f"{task.key}.json"
    before = json.loads(path.read_text())
    path.unlink()
    ran = []

    class Counting(InProcess):
        def submit(self, fn, task, *args):
            ran.append(task.key)
            return super().submit(fn, task, *args)

    run(SMALL, folder, Counting())
    assert ran == [task.key]
    after = json.loads(path.read_text())
    before.pop("cost"), after.pop("cost")
    assert before == after
    run(SMALL, folder, Counting())
    assert ran == [task.key]


def test_keys_change_with_everything_that_matters():
    def key(**changes):
        tasks = make_plan(replace(SMALL, models=("convnet",), seeds=(0,), **changes))
        return {t.kind: t.key for t in tasks if t.eps in (None, 0.1, 0.3)}

    base = key()
    assert key() == base
    assert key(limit=13)["robust-accuracy"] != base["robust-accuracy"]
    assert key(limit=13)["training"] == base["training"]
    assert key(retrain=True)["training"] != base["training"]
    assert key(retrain=True)["robust-accuracy"] != base["robust-accuracy"]
    assert key(eps=(0.3,))["robust-accuracy"] != base["robust-accuracy"]
    assert key(attacks=("fgsm",))["robust-accuracy"] != base["robust-accuracy"]


def test_keys_change_with_the_version_of_every_plugin_involved(monkeypatch):
    registry = load_registry(())
    selection = replace(SMALL, models=("convnet",), seeds=(0,), eps=(0.1,), retrain=True)

    def keys() -> dict[str, str]:
        tasks = make_plan(selection)
        return {t.kind: t.key for t in tasks if t.certifier in (None, "spectral-product")}

    before = keys()
    for kind, name, changed in [
        ("attack", "pgd", {"robust-accuracy", "diagnosis"}),
        ("certifier", "spectral-product", {"lipschitz"}),
        ("model", "convnet", {"training", "robust-accuracy", "lipschitz", "diagnosis"}),
    ]:
        specs = registry._specs[kind]
        with monkeypatch.context() as patch:
            patch.setitem(specs, name, replace(specs[name], version="next"))
            after = keys()
        assert {kind for kind in before if before[kind] != after[kind]} == changed
    longer = replace(registry.get("model", "convnet").spec, recipe=Recipe(epochs=21))
    provided = replace(registry.get("model", "convnet"), spec=longer)
    monkeypatch.setitem(registry._specs["model"], "convnet", provided)
    assert make_plan(selection)[0].key != before["training"]


@pytest.mark.parametrize(
    "bad", [{"eps": (-0.1,)}, {"eps": ()}, {"limit": 0}, {"seeds": (-1,)}, {"models": ()}]
)
def test_selections_that_make_no_sense(bad):
    with pytest.raises(UsageError):
        make_plan(replace(SMALL, **bad))


def test_attacks_with_parameters():
    call = parse_attack("pgd:restarts=5:keep=last:step=0.01:random_start=false")
    assert call.params == {"restarts": 5, "keep": "last", "step": 0.01, "random_start": False}
    assert call.label == "pgd:keep=last:random_start=False:restarts=5:step=0.01"
    few = replace(SMALL, models=("convnet",), seeds=(0,), eps=(0.1,))
    tasks = make_plan(replace(few, attacks=("pgd", "pgd:steps=3:restarts=2", "pgd")))
    robust = [task for task in tasks if task.kind == "robust-accuracy"]
    assert [task.label for task in robust] == ["pgd", "pgd:restarts=2:steps=3"]
    assert robust[1].params == {**robust[0].params, "steps": 3, "restarts": 2}
    assert robust[0].key != robust[1].key


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pgd:steps", "write NAME:PARAMETER=VALUE"),
        ("pgd:steps=", "write NAME:PARAMETER=VALUE"),
        ("pgd:1=2", "write NAME:PARAMETER=VALUE"),
        ("pgd:stepz=3", "cannot make 'pgd' .*stepz"),
        ("pgd:steps=0", "cannot make 'pgd' .*steps must be at least 1"),
        ("pdg:steps=3", "unknown attack 'pdg'"),
    ],
)
def test_attacks_that_cannot_be_called_like_that(text, complaint):
    with pytest.raises(QbenchError, match=complaint):
        make_plan(replace(SMALL, attacks=(text,)))


def test_an_attack_past_its_time_limit_is_a_failed_record(small):
    _, tasks, _ = small
    task = next(t for t in tasks if t.kind == "robust-accuracy")
    training = next(t for t in tasks if t.key == task.needs[0])
    inputs = {training.key: run_task(training, {})}
    record = run_task(replace(task, time_limit_s=1e-4), inputs).record
    assert record.status == "failed"
    assert "longer than its time limit (--time-limit)" in record.reason
    assert record.key == task.key


PLUGIN = """
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec, ModelSpec, Recipe

@hookimpl
def qbench_models():
    for name, differentiable in (("mine", True), ("blind", False)):
        yield ModelSpec(
            name=name, description="a linear model", factory=f"{__name__}:Linear",
            family="classical", structure="linear", recipe=Recipe(epochs=1),
            differentiable=differentiable,
        )

@hookimpl
def qbench_attacks():
    for name in ("cheat", "crash", "nan", "l2only"):
        yield AttackSpec(
            name=name, description="broken", factory=f"{__name__}:{name}",
            norms=("l2",) if name == "l2only" else ("linf",), gradient=False,
        )

class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)

def cheat():
    return lambda model, x, y, threat, generator: x + 1

def crash():
    def attack(model, x, y, threat, generator):
        raise RuntimeError("out of luck")
    return attack

def nan():
    return lambda model, x, y, threat, generator: x * float("nan")

def l2only():
    return lambda model, x, y, threat, generator: x
"""


def test_a_model_of_ones_own_and_attacks_that_misbehave(tmp_path):
    path = tmp_path / "plugin_mine.py"
    path.write_text(PLUGIN)
    selection = RunSelection(
        models=("mine", "blind"),
        attacks=("pgd", "cheat", "crash", "nan", "l2only"),
        seeds=(0,),
        eps=(0.1,),
        limit=8,
        plugins=(PluginFile.read(path),),
    )
    try:
        with open_executor("local", 2) as executor:
            _, records, _ = run(selection, tmp_path / "out", executor, width=2)
    finally:
        load_registry.cache_clear()
        sys.modules.pop("plugin_mine", None)
    robust = {
        (r.target.model, r.attack.name): (r.status, r.reason)
        for r in records
        if r.task == "robust-accuracy"
    }
    assert robust["mine", "pgd"] == ("done", None)
    assert robust["blind", "pgd"][0] == "skipped"
    assert "needs gradients, which blind does not give" in robust["blind", "pgd"][1]
    assert robust["mine", "l2only"] == ("skipped", "l2only cannot be bounded in linf")
    assert robust["mine", "cheat"][0] == "failed"
    assert {r.attack.name for r in records if "attack-rejected" in r.flags} == {"cheat", "nan"}
    assert "leaves the box" in robust["mine", "cheat"][1]
    assert robust["mine", "crash"] == ("failed", "RuntimeError: out of luck")
    assert "is not finite" in robust["mine", "nan"][1]
    transfer = {
        (r.source.model, r.target.model): (r.status, r.reason)
        for r in records
        if r.task == "transfer-accuracy" and r.attack.name == "pgd"
    }
    assert transfer["mine", "blind"] == ("done", None)
    assert transfer["blind", "mine"][0] == "skipped"
    certified = [r for r in records if r.task == "lipschitz"]
    assert {r.status for r in certified} == {"skipped"}
    assert "no certifier covers" in certified[0].reason


def test_a_task_whose_source_failed_is_skipped_with_the_reason(small):
    _, tasks, _ = small
    task = next(t for t in tasks if t.kind == "robust-accuracy")
    training = next(t for t in tasks if t.key == task.needs[0])
    failed = run_task(training, {})
    broken = replace(
        failed, record=failed.record.model_copy(update={"status": "failed", "reason": "why"})
    )
    skipped = run_task(task, {training.key: broken}).record
    assert skipped.status == "skipped"
    assert skipped.reason == "needs the training of convnet, which is failed: why"


def test_a_changed_zoo_file_stops_the_plan(monkeypatch, tmp_path):
    from qbench.zoo import SHIPPED, Zoo

    for path in SHIPPED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "convnet-seed0.safetensors"
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    monkeypatch.setattr("qbench.plan.Zoo", lambda: Zoo(tmp_path))
    with pytest.raises(WeightsError, match="were changed: SHA-256 is"):
        make_plan(SMALL)


ARGUMENTS = ("--models", "convnet,fourier", "--seeds", "0,1", "--limit", "40", "--jobs", "1")


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "qbench", "run", *ARGUMENTS, "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Everything a run leaves, without the one field that differs between two runs."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for name, content in files.items():
        if name.startswith("records") and name.endswith(".json"):
            record = json.loads(content)
            record["cost"].pop("wall_s")
            files[name] = json.dumps(record).encode()
    return files


def killed_and_restarted(folder: Path, moments: list[float]) -> int:
    """Kill a run at each moment, counted from its start; finish it; how often it was killed."""
    killed = 0
    for moment in moments:
        process = start(folder)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert start(folder).wait(timeout=240) == 0
    return killed


def test_a_killed_run_ends_with_the_same_bytes(tmp_path):
    began = time.monotonic()
    assert start(tmp_path / "whole").wait(timeout=240) == 0
    length = time.monotonic() - began
    moments = [length * share for share in (0.55, 0.75)]
    assert killed_and_restarted(tmp_path / "killed", moments) >= 1
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(tmp_path):
    began = time.monotonic()
    assert start(tmp_path / "whole").wait(timeout=240) == 0
    length = time.monotonic() - began
    draw = random.Random(0)
    # a fresh folder each time, so that every kill can fall on any part of the run
    killed = 0
    for k in range(10):
        folder = tmp_path / f"killed{k}"
        killed += killed_and_restarted(folder, [draw.uniform(0.2, 1.0) * length])
        assert tree(folder) == tree(tmp_path / "whole")
    assert killed >= 8


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "qbench", "run", "--models", "reup*", "--out", str(tmp_path / "o")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # What runs in the background of a shell inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    records = tmp_path / "o" / "records"
    until = time.monotonic() + 60
    while not list(records.glob("*/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
