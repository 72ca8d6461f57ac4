"""Runs a task graph: whatever executes the tasks, this process alone writes the results."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from qbench.records import Record
from qbench.running import run_task
from qbench.store import Outcome, Store
from qbench.tasks import Task


def run_graph(
    tasks: Sequence[Task],
    store: Store,
    executor: Executor,
    *,
    width: int,
    on_done: Callable[[Task, Record], None],
) -> list[Record]:
    """Run every task that has no done record, and store each result as it comes in.

    Args:
        tasks: Each after those it needs.
        store: Locked by the caller.
        executor: Runs `run_task`.
        width: How many tasks are handed to the executor at a time.
        on_done: Called after each task, also for those already done.

    Returns:
        The records of all tasks, in their order.
    """
    records: dict[str, Record] = {}
    ready: deque[Task] = deque()
    missing: dict[str, int] = {}
    waiting: defaultdict[str, list[Task]] = defaultdict(list)
    running: dict[Future[Outcome], Task] = {}

    def finish(task: Task, record: Record) -> None:
        records[task.key] = record
        on_done(task, record)
        for dependent in waiting.pop(task.key, []):
            missing[dependent.key] -= 1
            if not missing[dependent.key]:
                ready.append(dependent)

    for task in tasks:
        record = store.find(task.model, task.key)
        if record is not None and record.status == "done" and store.has_files(record):
            finish(task, record)
            continue
        needs = [need for need in task.needs if need not in records]
        missing[task.key] = len(needs)
        for need in needs:
            waiting[need].append(task)
        if not needs:
            ready.append(task)
    while ready or running:
        while ready and len(running) < width:
            task = ready.popleft()
            inputs = {need: store.outcome(records[need]) for need in task.needs}
            running[executor.submit(run_task, task, inputs)] = task
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task, outcome = running.pop(future), future.result()
            store.write(outcome)
            finish(task, outcome.record)
    return [records[task.key] for task in tasks]
