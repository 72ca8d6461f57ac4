"""The attacks of both protocols on the paper's models, as runs that go on where they stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from qbench.cli.running import run_tasks
from qbench.errors import StoreError
from qbench.evaluation.executors import open_executor
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import Task
from qbench.records.results import Results
from qbench.records.store import RunStore
from qbench_reproduction.paper import ATTACKS, MODELS, TABLE_ONE

_LEFT_OUT = ("checks", "fresh", "radii")  # kinds of tasks that no figure of the paper needs


def measured(
    folder: Path, *, seeds: Sequence[int] | None, limit: int | None, jobs: int
) -> dict[str, Results]:
    """Train or load the models, attack them under both protocols, and bound them.

    Args:
        folder: Of the runs, one a protocol; what it holds is not done again.
        seeds: Of the models; the protocol's where None.
        limit: How many images; the protocol's where None.
        jobs: Processes.

    Returns:
        Results by protocol.

    Raises:
        StoreError: A task failed; the message says which and why.
    """
    found = {}
    for protocol in ATTACKS:
        store = RunStore(folder / (f"{protocol}-first{limit}" if limit else protocol))
        tasks = plan(protocol, seeds, limit)
        with store.locked(), open_executor("local", jobs) as pool:
            records = run_tasks(f"attacking, {protocol}", tasks, store, pool, jobs)
        failed = [record for record in records if record.status == "failed"]
        for record in failed:
            click.echo(f"failed: {record.title}: {record.reason}", err=True)
        if failed:
            raise StoreError(f"{len(failed)} of {len(records)} tasks failed under {protocol}")
        found[protocol] = store.results()
    return found


def plan(protocol: str, seeds: Sequence[int] | None, limit: int | None) -> list[Task]:
    """The tasks that the figures need."""
    plans: Iterable[Task] = (
        task
        for attacks, eps in ATTACKS[protocol]
        for task in make_plan(
            RunSelection(
                models=MODELS,
                attacks=attacks,
                certifiers=sorted({bound.certifier for bound in TABLE_ONE}),
                eps=eps,
                protocol=protocol,
                seeds=seeds,
                limit=limit,
                norms=(),
            )
        )
        if task.identity.kind not in _LEFT_OUT
    )
    return list({task.identity.id: task for task in plans}.values())
