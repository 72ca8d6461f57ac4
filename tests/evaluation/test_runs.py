"""Runs end to end: what they compute, how they fail, and that a kill loses nothing."""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, run

import qbench
from qbench.attack_strings import attack_label, parse_attack
from qbench.datasets.base import load_data
from qbench.datasets.fitting import fitted
from qbench.errors import QbenchError, UsageError, WeightsError
from qbench.evaluation.executors import InProcess, open_executor
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import TaskContext, run_task
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.specs import Recipe
from qbench.weights.files import Provenance, TrainingState, fingerprint, pack
from qbench.weights.zoo import Zoo


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    tasks, records = run(SMALL, folder)
    return folder, tasks, records


def one(tasks, kind, **about):
    """The first task of a kind whose identity says so."""
    for task in tasks:
        named = task.identity
        if named.kind == kind and all(getattr(named, k) == v for k, v in about.items()):
            return task
    raise AssertionError(f"no {kind} with {about}")


def test_the_plan_is_every_kind_for_every_model(small):
    _, tasks, records = small
    kinds = [task.identity.kind for task in tasks]
    assert kinds.count("training") == 4
    assert kinds.count("attack") == 4 * 2
    assert kinds.count("transfer") == 4  # only at the ranking budget, same seed
    assert kinds.count("lipschitz") == 4
    assert kinds.count("radii") == 4
    assert kinds.count("checks") == 4
    assert len({task.identity.id for task in tasks}) == len(tasks)
    before = set()
    for task in tasks:
        assert set(task.needs) <= before
        before.add(task.identity.id)
    assert {record.status for record in records} == {"done"}


def test_records_say_what_was_done(small):
    folder, tasks, records = small
    by_id = {record.id: record for record in records}
    task = one(tasks, "attack", eps=0.1)
    record, store = by_id[task.identity.id], RunStore(folder)
    assert (record.task.model.name, record.task.model.seed) == ("convnet", 0)
    card = store.results().cards["convnet"]
    assert (card.parameters, card.family) == (1024, "classical")
    assert record.weights == by_id[task.needs[0]].weights
    assert record.task.attack.params["steps"] == 40
    assert (record.task.norm, record.task.eps, record.task.data.images) == ("linf", 0.1, 12)
    assert (record.cost.forward, record.cost.gradient) == (12 * 41, 12 * 40)
    assert task.passes(TaskContext(task)) == (12 * 43, 12 * 40)
    images = store.columns(record)
    robust = (images["clean_prediction"] == images["label"]) & (
        images["adversarial_prediction"] == images["label"]
    )
    assert record.metrics.robust_accuracy == robust.mean()
    assert images["linf"].max() <= 0.1 * (1 + 1e-6)
    bounds = [r for r in records if r.task.kind == "lipschitz"]
    assert all(r.metrics.sampled_jacobian <= r.metrics.bound for r in bounds)
    assert store.results().environments[record.environment]["qbench_classical"]


def without_times(folder):
    """Every record of a folder, without what it took."""
    return [record.model_copy(update={"cost": None}) for record in RunStore(folder).records()]


class Counting(InProcess):
    """Notes what runs."""

    def __init__(self):
        self.ran = []

    def submit(self, fn, task, *args):
        self.ran.append(task.identity.id)
        return super().submit(fn, task, *args)


def test_a_second_run_does_nothing_and_a_lost_or_damaged_record_is_made_again(small):
    folder, tasks, _ = small
    before, executor = without_times(folder), Counting()
    run(SMALL, folder, executor)
    assert executor.ran == []
    lost, damaged = one(tasks, "attack", eps=0.2), one(tasks, "transfer")
    with sqlite3.connect(folder / "results.sqlite") as file:
        file.execute("DELETE FROM records WHERE id = ?", (lost.identity.id,))
        file.execute("UPDATE blobs SET content = ? WHERE id = ?", (b"x", damaged.identity.id))
        other = one(tasks, "lipschitz").identity.id
        file.execute("UPDATE records SET record = '{' WHERE id = ?", (other,))
    run(SMALL, folder, executor)
    assert sorted(executor.ran) == sorted({lost.identity.id, damaged.identity.id, other})
    assert without_times(folder) == before


def test_what_names_a_result_is_what_was_measured():
    def ids(**changes):
        tasks = make_plan(replace(SMALL, models=("convnet",), seeds=(0,), **changes))
        return {
            t.identity.kind: t.identity.id
            for t in tasks
            if getattr(t.identity, "eps", 0.1) in (0.1, 0.3) or t.identity.kind == "radii"
        }

    base = ids()
    # neither how long it may take, nor how it is spelt, nor what else is selected
    for same in ({"time_limit_s": 5.0}, {"attacks": ("pgd:steps=40",)}, {"retrain": True}):
        assert ids(**same) == base
    assert ids(attacks=("pgd", "fgsm"))["checks"] == base["checks"]
    fewer = ids(limit=11)
    assert fewer["training"] == base["training"]
    for changed in ("attack", "lipschitz", "radii", "checks"):
        assert fewer[changed] != base[changed]
    assert ids(eps=(0.3,))["attack"] != base["attack"]
    assert ids(attacks=("fgsm",))["attack"] != base["attack"]
    assert ids(attacks=("pgd:steps=41",))["attack"] != base["attack"]


def test_versions_are_not_identity_and_revisions_are(monkeypatch):
    registry = load_registry(())
    selection = replace(SMALL, models=("convnet",), seeds=(0,), eps=(0.1,))

    def ids() -> dict[str, str]:
        return {task.identity.kind: task.identity.id for task in make_plan(selection)}

    before = ids()
    for kind, name, changed in [
        ("attack", "pgd", {"attack", "fresh"}),
        ("certifier", "spectral-product", {"lipschitz"}),
        ("model", "convnet", set(before)),
    ]:
        specs = registry._specs[kind]
        with monkeypatch.context() as patch:
            patch.setitem(specs, name, replace(specs[name], version="next"))
            assert ids() == before
            raised = replace(specs[name].spec, revision=2)
            patch.setitem(specs, name, replace(specs[name], spec=raised))
            patch.setattr(
                "qbench.evaluation.planned_training.TrainingPlan._from_zoo", lambda *_: "0" * 64
            )
            after = ids()
        assert {kind for kind in before if before[kind] != after[kind]} == changed


def test_a_zoo_of_another_recipe_is_refused(monkeypatch):
    registry = load_registry(())
    longer = replace(registry.get("model", "convnet").spec, recipe=Recipe(epochs=21))
    provided = replace(registry.get("model", "convnet"), spec=longer)
    monkeypatch.setitem(registry._specs["model"], "convnet", provided)
    with pytest.raises(WeightsError, match="another recipe or revision"):
        make_plan(SMALL)


def test_the_zoo_is_that_of_the_data(monkeypatch, tmp_path):
    """On data that the zoo has no weights for, models are trained; where it has some, read."""
    selection = replace(SMALL, protocol="digits-linf-v1", models=("fourier",), seeds=(0,))
    monkeypatch.setattr("qbench.weights.zoo.SHIPPED", tmp_path)
    task = make_plan(selection)[0]
    assert (task.identity.data.name, task.zoo) == ("digits", None)
    data = load_data("digits")
    provided = fitted(load_registry(()).get("model", "fourier"), data)
    model = provided.create()
    weights = dict(model.state_dict())
    about = Provenance(
        model="fourier", revision=provided.spec.revision, seed=0, dataset="digits",
        dataset_sha256=data.sha256, recipe=provided.spec.recipe,
    )  # fmt: skip
    Zoo(tmp_path / "digits").add("fourier", 0, pack(TrainingState(weights=weights), about))
    task = make_plan(selection)[0]
    assert task.zoo == fingerprint(weights)
    glyphs = replace(selection, protocol="glyphs-linf-v1")
    assert make_plan(glyphs)[0].zoo is None  # that folder has none for glyphs
    loaded = qbench.load_model("fourier", dataset="digits")
    assert torch.equal(loaded(data.test.x[:3]), model(data.test.x[:3]))


@pytest.mark.parametrize(
    "bad", [{"eps": (-0.1,)}, {"eps": ()}, {"limit": 0}, {"seeds": (-1,)}, {"models": ()}]
)
def test_selections_that_make_no_sense(bad):
    with pytest.raises(UsageError):
        make_plan(replace(SMALL, **bad))


def test_attacks_with_parameters():
    name, params = parse_attack("pgd:restarts=5:keep=last:step=0.01:random_start=false")
    assert name == "pgd"
    assert params == {"restarts": 5, "keep": "last", "step": 0.01, "random_start": False}
    usual = {"restarts": 5, "keep": "best", "random_start": True}
    assert attack_label(name, params, usual) == "pgd:keep=last:random_start=false:step=0.01"
    few = replace(SMALL, models=("convnet",), seeds=(0,), eps=(0.1,))
    tasks = make_plan(replace(few, attacks=("pgd", "pgd:steps=3:restarts=2", "pgd:steps=40")))
    robust = [task for task in tasks if task.identity.kind == "attack"]
    assert [task.label for task in robust] == ["pgd", "pgd:restarts=2:steps=3"]
    first, second = (task.identity.attack.params for task in robust)
    assert second == {**first, "steps": 3, "restarts": 2}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pgd:steps", "write NAME:PARAMETER=VALUE"),
        ("pgd:steps=", "write NAME:PARAMETER=VALUE"),
        ("pgd:1=2", "write NAME:PARAMETER=VALUE"),
        ("pgd:stepz=3", "unknown parameter of pgd 'stepz': did you mean step"),
        ("pgd:steps=0", "cannot make 'pgd' .*steps must be at least 1"),
        ("pdg:steps=3", "unknown attack 'pdg'"),
    ],
)
def test_attacks_that_cannot_be_called_like_that(text, complaint):
    with pytest.raises(QbenchError, match=complaint):
        make_plan(replace(SMALL, attacks=(text,)))


# The signal may arrive while the garbage collector calls back; it is then given again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task_past_its_time_limit_is_a_failed_record(small):
    _, tasks, _ = small
    task = one(tasks, "attack")
    training = one(tasks, "training")
    inputs = {training.identity.id: run_task(training, {})}
    for late in (task, one(tasks, "checks"), one(tasks, "radii")):
        record = run_task(replace(late, time_limit_s=1e-4), inputs).record
        assert record.status == "failed"
        assert "longer than its time limit (--time-limit)" in record.reason
        assert record.failure.type == "TimeoutExceededError"
        assert record.id == late.identity.id


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
        raise RuntimeError("out\\x1b[31m of luck")
    return attack

def nan():
    return lambda model, x, y, threat, generator: x * float("nan")

def l2only():
    return lambda model, x, y, threat, generator: x
"""


def plugin(folder: Path, text: str, name: str = "plugin_mine") -> PluginFile:
    path = folder / f"{name}.py"
    path.write_text(text)
    return PluginFile.read(path)


def test_a_model_of_ones_own_and_attacks_that_misbehave(tmp_path):
    selection = RunSelection(
        models=("mine", "blind"),
        attacks=("pgd", "cheat", "crash", "nan", "l2only"),
        seeds=(0,),
        eps=(0.1,),
        limit=8,
        plugins=(plugin(tmp_path, PLUGIN),),
    )
    with open_executor("local", 2) as executor:
        _, records = run(selection, tmp_path / "out", executor)
    attacks = {
        (r.task.model.name, r.task.attack.name): r for r in records if r.task.kind == "attack"
    }
    robust = {key: (record.status, record.reason) for key, record in attacks.items()}
    assert robust["mine", "pgd"] == ("done", None)
    assert robust["blind", "pgd"][0] == "skipped"
    assert "needs gradients, which blind does not give" in robust["blind", "pgd"][1]
    assert robust["mine", "l2only"] == ("skipped", "l2only cannot be bounded in linf")
    assert robust["mine", "cheat"][0] == "failed"
    assert "leaves the box" in robust["mine", "cheat"][1]
    assert robust["mine", "crash"] == ("failed", "RuntimeError: out [31m of luck")
    failure = attacks["mine", "crash"].failure
    assert failure.type == "RuntimeError"
    assert re.search(r"plugin_mine\.py:\d+ in attack", failure.frames[-1])
    assert "is not finite" in robust["mine", "nan"][1]
    transfer = {
        (r.task.source.name, r.task.model.name): (r.status, r.reason)
        for r in records
        if r.task.kind == "transfer" and r.task.attack.name == "pgd"
    }
    assert transfer["mine", "blind"] == ("done", None)
    assert transfer["blind", "mine"][0] == "skipped"
    certified = [r for r in records if r.task.kind in ("lipschitz", "radii")]
    assert {r.status for r in certified} == {"skipped"}
    reasons = {r.task.kind: r.reason for r in certified}
    assert "no certifier that bounds how fast scores change covers" in reasons["lipschitz"]
    assert "no certifier that certifies radii in linf covers" in reasons["radii"]
    assert "'affine'" not in reasons["lipschitz"]
    assert all("reupload-circuit" in reason for reason in reasons.values())  # what they do cover
    version = RunStore(tmp_path / "out").results().cards["mine"].version
    assert version == selection.plugins[0].sha256


BROKEN = """
from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec, CertifierSpec, ModelSpec

@hookimpl
def qbench_models():
    for name, factory in (("raises", "raises"), ("missing", "nowhere")):
        yield ModelSpec(
            name=name, description="cannot be made", factory=f"{__name__}:{factory}",
            family="classical", structure="x",
        )

@hookimpl
def qbench_attacks():
    yield AttackSpec(
        name="absent", description="not installed", factory="no_such_package:Attack",
        norms=("linf",), gradient=False,
    )

@hookimpl
def qbench_certifiers():
    yield CertifierSpec(
        name="absent", description="not installed", factory="no_such_package:Certifier",
        structures=("convnet",), source="none",
    )

def raises():
    raise RuntimeError("no luck")
"""


def test_what_cannot_be_made_fails_alone(tmp_path):
    selection = RunSelection(
        models=("convnet", "raises", "missing"),
        attacks=("fgsm", "absent"),
        certifiers=("absent", "spectral-product"),
        seeds=(0,),
        eps=(0.1,),
        limit=4,
        plugins=(plugin(tmp_path, BROKEN, "plugin_unmakeable"),),
    )
    tasks, records = run(selection, tmp_path / "out")
    assert all(task.passes(TaskContext(task)) for task in tasks)  # the cost is known all the same
    status = {}
    for record in records:
        named = getattr(record.task, "attack", None) or getattr(record.task, "certifier", None)
        status[record.task.kind, record.task.model.name, named and named.name] = record.status
    assert status["attack", "convnet", "fgsm"] == "done"
    assert status["lipschitz", "convnet", "spectral-product"] == "done"
    failed = {key for key, how in status.items() if how == "failed"}
    assert failed == {
        ("training", "raises", None),
        ("training", "missing", None),
        ("attack", "convnet", "absent"),
        ("lipschitz", "convnet", "absent"),
    }
    reasons = {r.task.model.name: r.reason for r in records if r.task.kind == "training"}
    assert "RuntimeError: no luck" in reasons["raises"]
    assert "nowhere" in reasons["missing"]


KIND = """
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe
import plugin_helper

@hookimpl
def qbench_models():
    yield ModelSpec(
        name="mine", description="a linear model", factory=f"{__name__}:Linear",
        family="classical", structure="linear", recipe=Recipe(epochs=0),
    )

class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)
        with torch.no_grad():
            self.weight.fill_(plugin_helper.VALUE)
            self.weight[0] = torch.load(CHECKPOINT)

CHECKPOINT = {checkpoint!r}
"""


@pytest.mark.parametrize("changed", ["checkpoint", "helper", "plugin"])
def test_what_determines_a_result_is_looked_at_again(tmp_path, changed):
    import torch

    checkpoint, helper = tmp_path / "c.pt", tmp_path / "plugin_helper.py"
    torch.save(torch.zeros(256), checkpoint)
    helper.write_text("VALUE = 0.0")
    text = KIND.replace("{checkpoint!r}", repr(str(checkpoint)))

    def everything(text: str) -> list[str]:
        executor = Counting()
        selection = RunSelection(
            models=("mine",), seeds=(0,), eps=(0.1,), limit=4, plugins=(plugin(tmp_path, text),)
        )
        run(selection, tmp_path / "out", executor)
        return executor.ran

    first = everything(text)
    skipped = 2  # no certifier covers it
    assert len(everything(text)) == skipped
    if changed == "checkpoint":
        torch.save(torch.ones(256), checkpoint)
    elif changed == "helper":
        helper.write_text("VALUE = 1.0")
    else:
        text += "\n# another version"
    assert sorted(everything(text)) == sorted(first)
    assert len(everything(text)) == skipped


def test_a_task_whose_source_failed_is_skipped_with_the_reason(small):
    _, tasks, _ = small
    task, training = one(tasks, "attack"), one(tasks, "training")
    done = run_task(training, {})
    gone = {"status": "failed", "reason": "why", "metrics": None}
    failed = replace(done, record=done.record.model_copy(update=gone))
    skipped = run_task(task, {training.identity.id: failed}).record
    assert skipped.status == "skipped"
    assert skipped.reason == "its training failed"


def test_a_changed_zoo_file_stops_the_plan(monkeypatch, tmp_path):
    from qbench.weights.zoo import SHIPPED, Zoo

    for path in filter(Path.is_file, SHIPPED.iterdir()):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "convnet-seed0.safetensors"
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    monkeypatch.setattr("qbench.evaluation.planned_training.Zoo.shipped", lambda _: Zoo(tmp_path))
    with pytest.raises(WeightsError, match="were changed: SHA-256 is"):
        make_plan(SMALL)


def test_models_of_an_earlier_run_get_the_transfers_that_are_missing(tmp_path):
    first = replace(SMALL, models=("convnet",), seeds=(0,), eps=(0.1,))
    run(first, tmp_path / "parts")
    known = RunStore(tmp_path / "parts").identities()
    run(replace(first, models=("fourier",)), tmp_path / "parts", known=known)
    run(replace(first, models=("convnet", "fourier")), tmp_path / "whole")
    assert without_times(tmp_path / "parts") == without_times(tmp_path / "whole")


DEADLY = """
import os, signal
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec

@hookimpl
def qbench_attacks():
    for name in ("exits", "killed"):
        yield AttackSpec(
            name=name, description="ends its process", factory=f"{__name__}:{name}",
            norms=("linf",), gradient=False,
        )

def exits():
    return lambda *_: os._exit(0)

def killed():
    return lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_task_that_ends_its_process_is_named_and_the_others_go_on(tmp_path):
    selection = RunSelection(
        models=("convnet",),
        attacks=("fgsm", "exits", "killed"),
        certifiers=("spectral-product",),
        seeds=(0, 1),
        eps=(0.1,),
        limit=4,
        plugins=(plugin(tmp_path, DEADLY, "plugin_deadly"),),
    )
    with open_executor("local", 2) as executor:
        _, records = run(selection, tmp_path / "out", executor)
    failed = [record for record in records if record.status == "failed"]
    names = sorted(record.task.attack.name for record in failed)
    assert names == ["exits", "exits", "killed", "killed"]
    assert all("try fewer --jobs" in record.reason for record in failed)
    assert {r.status for r in records if r.label == "fgsm"} == {"done"}


ARGUMENTS = (
    "--models", "fourier,fourier-at", "--seeds", "0", "--eps", "0.1", "--limit", "6", "--jobs", "1",
)  # fmt: skip


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "qbench", "run", *ARGUMENTS, "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def left(folder: Path) -> tuple[object, dict[str, bytes]]:
    """What a run leaves: records without times, and the page but for the command's own folder."""
    page = folder / "leaderboard"
    files = {str(p.relative_to(page)): p.read_bytes() for p in page.rglob("*") if p.is_file()}
    for name in ("README.md", "leaderboard.json"):
        files[name] = files[name].replace(str(folder).encode(), b"FOLDER")
    return without_times(folder), files


def kept(store: RunStore) -> int:
    """How many records a run that is under way has kept."""
    try:
        return len(store.identities()) if store.path.exists() else 0
    except (QbenchError, sqlite3.Error):
        return 0  # the file is there, its tables are not


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)


def killed_and_restarted(folder: Path, moments: list[float]) -> int:
    """Kill a run at each moment, counted from its start; finish it; how often it was killed."""
    killed = 0
    for moment in moments:
        process = start(folder)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert start(folder).wait(timeout=240) == 0
    return killed


def test_a_killed_run_ends_with_the_same_bytes(qbench_cli, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert qbench_cli("run", *ARGUMENTS, "--out", str(whole)).returncode == 0
    every = len(RunStore(whole).identities())
    process = start(killed)
    try:
        wait_until(lambda: kept(RunStore(killed)) >= every // 2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert every // 2 <= kept(RunStore(killed)) < every
    assert qbench_cli("run", *ARGUMENTS, "--out", str(killed)).returncode == 0
    assert left(killed) == left(whole)


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_with_the_same_bytes(tmp_path):
    began = time.monotonic()
    assert start(tmp_path / "whole").wait(timeout=240) == 0
    length = time.monotonic() - began
    draw = random.Random(0)
    # a fresh folder each time, so that every kill can fall on any part of the run
    killed = 0
    for k in range(20):
        folder = tmp_path / f"killed{k}"
        killed += killed_and_restarted(folder, [draw.uniform(0.2, 1.0) * length])
        assert left(folder) == left(tmp_path / "whole")
    assert killed >= 16


@pytest.mark.slow
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
    try:
        wait_until(lambda: kept(RunStore(tmp_path / "o")) > 0)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
