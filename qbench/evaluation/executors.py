"""Where tasks run: in this process, in local processes, or on Dask workers.

Results do not depend on where tasks run or on how many run beside one another: each is isolated
(`isolation.isolated`) and computes on one thread.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from qbench.errors import UnknownNameError, UsageError
from qbench.evaluation import outside, workers
from qbench.evaluation.provenance import packages
from qbench.extras import install_command

T = TypeVar("T")
ANSWER_S = 10  # how long a scheduler may take to answer
_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+")


class WorkerDiedError(Exception):
    """The process that ran a task ended: killed, out of memory, or by the task itself."""


class Executor(Protocol):
    """Runs functions; `width` is how many are worth handing out at a time.

    A future raises `WorkerDiedError` where the process died; what is submitted afterwards runs.
    """

    width: int

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]: ...


class InProcess:
    """Runs each task in this process when it is submitted."""

    width = 1

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Call `fn` at once; the future is already done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def open_executor(where: str, jobs: int) -> Iterator[Executor]:
    """An executor by name.

    Args:
        where: `"local"`; `"dask"` for a Dask cluster on this machine; or the address of a Dask
            scheduler, such as `tcp://host:8786`.
        jobs: Processes on this machine. A scheduler brings its own workers.

    Raises:
        UnknownNameError: There is no such executor.
        UsageError: Dask is not installed, nobody answers, or a worker has other versions.
    """
    if where == "local":
        pool = _Processes(jobs)
        try:
            yield pool
        except BaseException:
            pool.stop()
            raise
        pool.close()
    elif where == "dask" or _ADDRESS.fullmatch(where):
        with _dask(where, jobs) as executor:
            yield executor
    else:
        raise UnknownNameError("executor", where, ["local", "dask", "tcp://HOST:PORT"])


class _Processes:
    """Processes on this machine; after one died, new ones take over."""

    def __init__(self, jobs: int) -> None:
        self.width = 2 * jobs
        self._jobs = jobs
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._jobs,
            mp_context=workers.context(),
            initializer=_start_worker,
            initargs=(dict(os.environ),),
        )

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Run `fn` in one of the processes."""
        try:
            inner = self._pool.submit(fn, *args)
        except BrokenProcessPool:
            self._pool = self._new()
            inner = self._pool.submit(fn, *args)
        return _translated(inner, BrokenProcessPool)

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown()

    def stop(self) -> None:
        """Someone pressed Ctrl-C or the disk is full: what runs is not worth waiting for."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _start_worker(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)  # what it was forked from may be older than a setting
    outside.start_by_forking()  # before a task brings plugins
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _translated(inner: Future[T], death: type[BaseException]) -> Future[T]:
    """A future in which a death of the worker is a `WorkerDiedError`."""
    outer: Future[T] = Future()

    def settle(done: Future[T]) -> None:
        try:
            outer.set_result(done.result())
        except (death, CancelledError) as error:
            outer.set_exception(WorkerDiedError(str(error)))
        except BaseException as error:
            outer.set_exception(error)

    inner.add_done_callback(settle)
    return outer


class _Dask:
    """Dask workers; a task whose worker dies is run again on another one, some times over."""

    width = 64

    def __init__(self, client: Any) -> None:
        from distributed.scheduler import KilledWorker

        self._executor, self._death = client.get_executor(pure=False), KilledWorker

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        """Run `fn` on a worker."""
        return _translated(self._executor.submit(fn, *args), self._death)


@contextmanager
def _dask(where: str, jobs: int) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(
            f"executor {where!r} needs {error.name}: {install_command('dask')}"
        ) from error
    if where == "dask":
        with (
            LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield _Dask(client)
        return
    try:
        client = Client(where, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {where}: start one with 'dask scheduler' ({error})"
        ) from error
    with client:
        _check_versions(client)
        yield _Dask(client)


def _check_versions(client: Any) -> None:
    ours = packages()
    for worker, theirs in client.run(packages).items():
        for package, version in ours.items():
            if theirs.get(package) != version:
                raise UsageError(
                    f"worker {worker} has {package} {theirs.get(package)}, here it is {version}: "
                    "install the same versions on both"
                )
