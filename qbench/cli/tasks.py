"""What the commands that run task graphs share."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qbench.plan import RunSelection
    from qbench.records import Record
    from qbench.store import Store
    from qbench.tasks import Task


def folder(selection: RunSelection) -> str:
    """Name of the results' folder, the same for all that may share one."""
    data = f"-{selection.dataset}" if selection.dataset else ""
    limit = f"-first{selection.limit}" if selection.limit else ""
    return f"{selection.protocol}{data}{limit}{'-retrained' if selection.retrain else ''}"


def run_tasks(tasks: Sequence[Task], store: Store, executor: str, jobs: int) -> list[Record]:
    """Run what has no done record yet, with a progress bar; the records of all tasks."""
    from qbench.cli.progress import progress
    from qbench.executors import open_executor
    from qbench.graph import run_graph

    what = f"{jobs} at a time" if executor == "local" else f"on {executor}"
    click.echo(f"{len(tasks)} tasks, {what}, results in {store.root}", err=True)
    with store.locked(), progress("running", total=sum(map(_weight, tasks))) as advance:
        try:
            with open_executor(executor, jobs) as pool:
                return run_graph(
                    tasks,
                    store,
                    pool,
                    width=_width(executor, jobs),
                    on_done=lambda task, _record: advance(_weight(task), task.title),
                )
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            raise


def print_plan(tasks: Sequence[Task], store: Store, as_json: bool) -> None:
    """What would be done, and what it would cost."""
    from qbench.effort import passes

    done = {
        task.key
        for task in tasks
        if (record := store.find(task.model, task.key)) and record.status == "done"
    }
    rows = []
    for kind, count in Counter(task.kind for task in tasks).items():
        group = [task for task in tasks if task.kind == kind and task.key not in done]
        costs = [passes(task) for task in group]
        rows.append(
            {
                "task": kind,
                "tasks": count,
                "done": count - len(group),
                "to do": len(group),
                "images forward": sum(forward for forward, _ in costs),
                "images differentiated": sum(gradient for _, gradient in costs),
            }
        )
    if as_json:
        click.echo(json.dumps({"out": str(store.root), "plan": rows}, indent=1))
        return
    from tabulate import tabulate

    click.echo(f"results would go to {store.root}\n")
    click.echo(tabulate(rows, headers="keys", intfmt=","))


def exit_with(records: Sequence[Record]) -> NoReturn:
    """Name what failed, and leave with 1 if anything did."""
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        what = f"{record.task} of {record.target.model} seed {record.target.seed}"
        by = f" by {record.certifier.name}" if record.certifier else ""
        click.echo(f"failed: {what}{by}: {record.reason}", err=True)
    sys.exit(1 if failed else 0)


def _width(executor: str, jobs: int) -> int:
    """Tasks handed out at a time: enough to keep workers busy, few enough to hold in memory."""
    if executor == "local":
        return 1 if jobs == 1 else 2 * jobs
    return 64


def _weight(task: Task) -> float:
    """How long a task takes, roughly, in passes of one image: only the progress bar sees it."""
    from qbench.effort import passes
    from qbench.registry import load_registry

    forward, gradient = passes(task)
    quantum = load_registry(task.plugins).get("model", task.model).spec.family == "quantum"
    certified = 20_000 if task.kind == "certification" else 0
    return 100 + certified + (forward + 2 * gradient) * (1 if quantum else 0.05)
