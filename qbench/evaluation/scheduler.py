"""Runs tasks: whatever executes them, this process alone writes the results."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from graphlib import TopologicalSorter

from qbench.evaluation.executors import Executor, WorkerDiedError
from qbench.evaluation.task import Task, not_done, run_task
from qbench.evaluation.training import TrainingTask
from qbench.records.record import Record, TrainingMetrics
from qbench.records.results import Result
from qbench.records.store import RunStore


class Scheduler:
    """Runs every task that has no valid result, and stores each as it comes in.

    A result counts if it is done, undamaged, of the weights that its model has now, and from
    plugin files that have not changed since.

    Args:
        tasks: Each after those it needs.
        store: Locked by the caller.
        executor: Runs `run_task`.
        on_done: Called after each task, also for those already done.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        store: RunStore,
        executor: Executor,
        on_done: Callable[[Task, Record], None] = lambda *_: None,
    ) -> None:
        self._tasks, self._store, self._executor, self._on_done = tasks, store, executor, on_done
        self._records: dict[str, Record] = {}
        self._ready: deque[Task] = deque()
        self._alone: deque[Task] = deque()
        self._running: dict[Future[Result], Task] = {}
        self._deaths: defaultdict[str, int] = defaultdict(int)
        self._sorter = TopologicalSorter({task.identity.id: task.needs for task in tasks})
        self._environments = store.environments()
        self._on_file = {task.identity.id: store.find(task.identity.id) for task in tasks}
        self._read_by_pending = {
            need for task in tasks for need in task.needs if self._done_on_file(task) is None
        }

    def run(self) -> list[Record]:
        """The records of all tasks, in their order."""
        tasks = {task.identity.id: task for task in self._tasks}
        self._sorter.prepare()
        while self._sorter.is_active():
            for identity in self._sorter.get_ready():
                self._begin(tasks[identity])
            self._hand_out()
            died = []
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                task = self._running.pop(future)
                try:
                    self._keep(task, future.result())
                except WorkerDiedError:
                    died.append(task)
            self._mourn(died)
        return [self._records[task.identity.id] for task in self._tasks]

    def _hand_out(self) -> None:
        """Give tasks to the executor; one that may have killed its process runs alone."""
        while self._ready and len(self._running) < self._executor.width:
            self._submit(self._ready.popleft())
        if self._alone and not self._running:
            self._submit(self._alone.popleft())

    def _submit(self, task: Task) -> None:
        inputs = {need: self._result(need) for need in task.needs}
        self._running[self._executor.submit(run_task, task, inputs)] = task

    def _mourn(self, died: Sequence[Task]) -> None:
        """Processes died. Each task that ran then is tried again, alone, and then given up."""
        for task in died:
            self._deaths[task.identity.id] += 1
            if self._deaths[task.identity.id] < 2:
                self._alone.append(task)
                continue
            reason = (
                "the process that ran it died twice, as when memory runs out: try fewer --jobs, or "
                "look at the plugin"
            )
            self._keep(task, not_done(task, "failed", reason))

    def _begin(self, task: Task) -> None:
        record = self._valid(task)
        if record is None:
            self._ready.append(task)
        else:
            self._finish(task, record)

    def _keep(self, task: Task, result: Result) -> None:
        self._store.write(result)
        self._finish(task, result.record)

    def _finish(self, task: Task, record: Record) -> None:
        self._records[task.identity.id] = record
        self._on_done(task, record)
        self._sorter.done(task.identity.id)

    def _done_on_file(self, task: Task) -> Record | None:
        """The task's done record as it was when the run began."""
        record = self._on_file[task.identity.id]
        return record if record is not None and record.status == "done" else None

    def _valid(self, task: Task) -> Record | None:
        """The task's record on file, if it still says what running it would."""
        record = self._done_on_file(task)
        if record is None or self._is_outdated(task, record):
            return None
        wanted = task.leaves_artifact and task.identity.id in self._read_by_pending
        if wanted and self._store.artifact(record) is None:
            return None
        if isinstance(task, TrainingTask) and isinstance(record.metrics, TrainingMetrics):
            if task.known is not None:
                return record if record.weights == task.known else None
            return record if record.metrics.initial == task.initial else None
        return record if record.weights == self._records[task.needs[0]].weights else None

    def _is_outdated(self, task: Task, record: Record) -> bool:
        versions = self._environments.get(record.environment, {})
        return any(
            versions.get(plugin.name, plugin.sha256) != plugin.sha256 for plugin in task.plugins
        )

    def _result(self, identity: str) -> Result:
        record = self._records[identity]
        return Result(record, artifact=self._store.artifact(record))
