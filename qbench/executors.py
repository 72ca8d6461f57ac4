"""Runs a task graph: whatever executes the tasks, this process alone writes the results.

An executor is a `concurrent.futures.Executor`: in process, or local processes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from qbench.records import Record
from qbench.store import Outcome, Store
from qbench.tasks import Task, run_task


class InProcess(Executor):
    """Runs each task when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` at once; the future is already done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def local_executor(jobs: int) -> Iterator[Executor]:
    """An executor on this machine: in process for one job, else that many processes.

    Every job computes on one thread, so that results do not depend on how many there are.
    """
    if jobs == 1:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield InProcess()
        finally:
            torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        # Someone pressed Ctrl-C or the disk is full: what is in flight is not worth waiting for.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
    for task in tasks:
        record = store.find(task.model, task.key)
        if record is not None and record.status == "done" and store.has_files(record):
            records[task.key] = record
            on_done(task, record)
    waiting = [task for task in tasks if task.key not in records]
    running: dict[Future[Outcome], Task] = {}
    while waiting or running:
        for task in waiting[:]:
            if len(running) >= width:
                break
            if all(need in records for need in task.needs):
                waiting.remove(task)
                inputs = {need: store.outcome(records[need]) for need in task.needs}
                running[executor.submit(run_task, task, inputs)] = task
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task, outcome = running.pop(future), future.result()
            store.write(outcome)
            records[task.key] = outcome.record
            on_done(task, outcome.record)
    return [records[task.key] for task in tasks]
