"""Independent pieces of work in processes side by side, one thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import nullcontext
from typing import Any, TypeVar

from qbench.errors import StoreError
from qbench.evaluation.executors import InProcess, WorkerDiedError, open_executor

T = TypeVar("T")
W = TypeVar("W")
Advance = Callable[[int, str], None]  # of a progress bar: by how many steps, and what was done


def each(function: Callable[[W], T], work: Sequence[W], jobs: int) -> Iterator[tuple[W, T]]:
    """Call a function on every piece of work; pairs of a piece and its result as they are done.

    Args:
        function: Of a module, so that another process finds it.
        work: What it is called with; begun in this order.
        jobs: Processes; with 1 everything runs in this one.

    Raises:
        StoreError: A process died.
    """
    jobs = min(jobs, len(work))
    with open_executor("local", jobs) if jobs > 1 else nullcontext(InProcess()) as executor:
        if isinstance(executor, InProcess):
            for piece in work:
                yield piece, executor.submit(function, piece).result()
            return
        futures: dict[Future[Any], W] = {executor.submit(function, piece): piece for piece in work}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except WorkerDiedError as error:
                raise StoreError(
                    f"a process died ({error}): free memory and run the command again, which "
                    "goes on from what is there"
                ) from error
