"""Where tasks run: in this process, in local processes, or on Dask workers.

Each is a `concurrent.futures.Executor` whose `submit` takes a module's function. Every task
computes on one thread, so results do not depend on where it runs or on how many run beside it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from qbench.errors import UnknownNameError, UsageError
from qbench.tasks import environment

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+")


class InProcess(Executor):
    """Runs each task when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` at once; the future is already done."""
        future: Future[Any] = Future()
        try:
            future.set_result(on_one_thread(fn, *args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def on_one_thread(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call `fn` while torch uses a single thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fn(*args, **kwargs)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def open_executor(where: str, jobs: int) -> Iterator[Executor]:
    """An executor by name.

    Args:
        where: `"local"`; `"dask"` for a Dask cluster on this machine; or the address of a Dask
            scheduler, such as `tcp://host:8786`.
        jobs: Processes on this machine; one local job runs in this process. A scheduler brings
            its own workers.

    Raises:
        UnknownNameError: There is no such executor.
        UsageError: Dask is not installed, nobody answers, or a worker has other versions.
    """
    if where == "local" and jobs == 1:
        yield InProcess()
    elif where == "local":
        with _processes(jobs) as executor:
            yield executor
    elif where == "dask" or _ADDRESS.fullmatch(where):
        with _dask(where, jobs) as executor:
            yield executor
    else:
        raise UnknownNameError("executor", where, ["local", "dask", "tcp://HOST:PORT"])


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
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


class _Dask(Executor):
    """A Dask client; a task whose worker dies is run again on another one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` on a worker."""
        future: Future[Any] = Future()
        remote = self._client.submit(on_one_thread, fn, *args, **kwargs, pure=False)
        remote.add_done_callback(lambda done: _settle(future, done))
        return future


def _settle(future: Future[Any], remote: Any) -> None:
    try:
        future.set_result(remote.result())
    except BaseException as error:
        future.set_exception(error)


@contextmanager
def _dask(where: str, jobs: int) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(
            f"executor {where!r} needs {error.name}: pip install 'qbench-robustness[dask]'"
        ) from error
    if where == "dask":
        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            yield _Dask(client)
        return
    try:
        client = Client(where, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {where}: start one with 'dask scheduler' ({error})"
        ) from error
    with client:
        _check_versions(client)
        yield _Dask(client)


def _check_versions(client: Any) -> None:
    ours = environment()
    for worker, theirs in client.run(environment).items():
        for package, version in ours.items():
            if theirs.get(package) != version:
                raise UsageError(
                    f"worker {worker} has {package} {theirs.get(package)}, here it is {version}: "
                    "install the same versions on both"
                )
