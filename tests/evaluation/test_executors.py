"""One task graph, three executors, the same bytes; workers that die lose nothing."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import pytest
from small_runs import run

from qbench.errors import UnknownNameError, UsageError
from qbench.evaluation import executors
from qbench.evaluation.executors import InProcess, open_executor
from qbench.evaluation.planner import make_plan
from qbench.evaluation.scheduler import Scheduler
from qbench.evaluation.selection import RunSelection
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench.report.collect import collect
from qbench.report.export import to_json

pytest.importorskip("distributed", reason="needs the extra 'dask'")

SELECTION = RunSelection(
    models=("convnet", "fourier"),
    attacks=("fgsm:random_start=true",),
    certifiers=("spectral-product", "lipsdp-pair", "convnet-linear", "fourier-linear"),
    seeds=(0,),
    limit=4,
)


def leaderboard(folder: Path, executor, on_done=lambda task, record: None) -> str:
    """Everything that a report is made of."""
    store = RunStore(folder)
    with store.locked():
        records = Scheduler(make_plan(SELECTION), store, executor, on_done).run()
    assert {record.status for record in records} == {"done"}
    return to_json(collect(store.results()))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return leaderboard(tmp_path_factory.mktemp("in-process"), InProcess())


def test_local_processes_give_the_same_bytes(expected, tmp_path):
    with open_executor("local", 2) as executor:
        assert leaderboard(tmp_path, executor) == expected


@pytest.mark.slow  # a cluster of its own is what the next test kills a worker of
def test_a_dask_cluster_made_here_gives_the_same_bytes(expected, tmp_path):
    with open_executor("dask", 2) as executor:
        assert leaderboard(tmp_path, executor) == expected


def dask(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def drain(stream: IO[str]) -> None:
    with stream:
        stream.read()


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a process says until a line matches; keep reading so that it never blocks."""
    assert process.stderr is not None
    until = time.monotonic() + 60
    while time.monotonic() < until:
        line = process.stderr.readline()
        if match := re.search(pattern, line):
            threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
            return match[1]
    raise AssertionError(f"no line matched {pattern}")


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers on loopback, each a process of its own."""
    local = ("--host", "127.0.0.1", "--no-dashboard")
    scheduler = dask("scheduler", *local, "--port", "0")
    processes = [scheduler]
    try:
        address = wait_for(scheduler, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        for name in ("one", "two"):
            worker = dask(
                "worker", address, "--host", "127.0.0.1", "--no-dashboard", "--nthreads", "1",
                "--no-nanny", "--name", name, "--local-directory", str(tmp_path / name),
            )  # fmt: skip
            processes.append(worker)
            wait_for(worker, r"(Registered to)")
        yield address, processes[1:]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_killed_worker_loses_nothing_and_repeats_nothing(cluster, expected, tmp_path):
    address, workers = cluster
    done = []

    def kill_one(task, record):
        done.append(task.identity.id)
        if len(done) == 8:
            workers[0].send_signal(signal.SIGKILL)

    with open_executor(address, 1) as executor:
        assert leaderboard(tmp_path / "run", executor, kill_one) == expected
    assert workers[0].wait(10) == -signal.SIGKILL
    tasks = make_plan(SELECTION)
    assert sorted(done) == sorted(task.identity.id for task in tasks)
    assert len(RunStore(tmp_path / "run").identities()) == len(tasks)
    gc.collect()  # what the killed worker left open is closed here, not in the next test


def test_workers_with_other_versions_are_refused():
    class Client:
        def run(self, function):
            return {"tcp://w:1": function() | {"torch": "1.0"}}

    with pytest.raises(UsageError, match=r"worker tcp://w:1 has torch 1.0, here it is"):
        executors._check_versions(Client())


def test_where_nobody_answers(monkeypatch):
    monkeypatch.setattr(executors, "ANSWER_S", 1.0)
    with (
        pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_executor("tcp://127.0.0.1:9", 1),
    ):
        pass


def test_names_of_executors():
    with (
        pytest.raises(UnknownNameError, match="unknown executor 'dusk': did you mean dask"),
        open_executor("dusk", 1),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UsageError, match=r"needs distributed: pip install .*\[dask\]"),
        open_executor("dask", 1),
    ):
        pass


HANGS = """
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

@hookimpl
def qbench_models():
    yield ModelSpec(
        name="hangs", description="never ends", factory=f"{__name__}:Hangs", family="classical",
        structure="x", recipe=Recipe(epochs=0),
    )

class Hangs(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)

    def forward(self, x):
        while True:
            pass
"""


@pytest.mark.parametrize("where", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_time_limits_hold_wherever_tasks_run(tmp_path, where):
    path = tmp_path / "plugin_hangs.py"
    path.write_text(HANGS)
    selection = RunSelection(
        models=("hangs",),
        attacks=("fgsm",),
        certifiers=("smoothing",),
        norms=("l2",),
        seeds=(0,),
        eps=(0.1,),
        limit=4,
        time_limit_s=3.0,
        plugins=(PluginFile.read(path),),
    )
    with open_executor(where, 2) as executor:
        _, records = run(selection, tmp_path / "run", executor)
    late = {r.task.kind for r in records if r.failure and r.failure.type == "TimeoutExceededError"}
    assert late == {"attack", "checks", "fresh", "radii"}


def test_an_error_in_a_task_reaches_its_future():
    with open_executor("local", 1) as executor, pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
