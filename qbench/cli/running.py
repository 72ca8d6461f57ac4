"""Tasks run with a progress bar that knows the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qbench.evaluation.executors import Executor
    from qbench.evaluation.task import Task
    from qbench.records.record import Record
    from qbench.records.store import RunStore

# Seconds a task takes whatever the model: an attack's images are scored in another process.
_STARTS_S = {"attack": 0.3, "lipschitz": 0.1, "radii": 1.0}


def run_tasks(
    title: str, tasks: Sequence[Task], store: RunStore, pool: Executor, jobs: int
) -> list[Record]:
    """Run what has no valid result yet, with a progress bar that knows the time left.

    Args:
        title: Of the bar.
        tasks: Each after those it needs.
        store: Holds the results.
        pool: Where tasks run.
        jobs: How many run at a time.

    Returns:
        The records of all tasks, also of those that were there.
    """
    from qbench.cli.progress import Forecast, forecast_progress
    from qbench.evaluation.scheduler import Scheduler

    work = {task.identity.id: (_like(task), _guess(task)) for task in tasks}
    with forecast_progress(title, Forecast(work.values(), jobs)) as advance:

        def done(task: Task, record: Record) -> None:
            advance(*work[task.identity.id], record.cost.wall_s, task.title)

        try:
            return Scheduler(tasks, store, pool, done).run()
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            raise


def _like(task: Task) -> tuple[str, ...]:
    """Which tasks take about as long: of the same kind, method and structure of the model."""
    from qbench.evaluation.task import TaskContext

    about = task.identity
    method = getattr(about, "attack", None) or getattr(about, "certifier", None)
    name = "" if method is None else method.name
    return about.kind, name, TaskContext(task).provided.spec.structure


def _guess(task: Task) -> float:
    """How many seconds a task takes, roughly: until there are tasks like it to judge by."""
    from qbench.evaluation.task import TaskContext

    context = TaskContext(task)
    forward, gradient = task.passes(context)
    passes = (forward + 2 * gradient) * (1 if context.provided.spec.family == "quantum" else 0.4)
    return _STARTS_S.get(task.identity.kind, 0.02) + 3e-5 * passes
