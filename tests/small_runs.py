"""Small runs of the real thing, for tests that look at what they leave."""

from __future__ import annotations

from pathlib import Path

from qbench.evaluation.executors import InProcess
from qbench.evaluation.planner import make_plan
from qbench.evaluation.scheduler import Scheduler
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import Task, run_task
from qbench.records.record import Record
from qbench.records.results import Result
from qbench.records.store import RunStore

SMALL = RunSelection(
    models=("convnet", "fourier"),
    seeds=(0, 1),
    eps=(0.1, 0.2),
    limit=12,
    certifiers=("spectral-product", "lipsdp-pair", "convnet-linear", "fourier-linear"),
)


def run(
    selection: RunSelection, folder: Path, executor=None, known=()
) -> tuple[list[Task], list[Record]]:
    """Run a selection into a folder: its tasks, and their records."""
    store, tasks = RunStore(folder), make_plan(selection, known)
    with store.locked():
        return tasks, Scheduler(tasks, store, executor or InProcess()).run()


def run_by_hand(selection: RunSelection) -> dict[str, Result]:
    """The results of a selection by identity, without a store."""
    done: dict[str, Result] = {}
    for task in make_plan(selection):
        result = run_task(task, {need: done[need] for need in task.needs})
        done[task.identity.id] = result
    return done
