"""What keeps one task's code from changing another task's numbers, or from never ending."""

from __future__ import annotations

import ctypes
import math
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from qbench.process_state import ProcessState


class TimeoutExceededError(Exception):
    """A task took longer than it may."""

    def __init__(self) -> None:
        super().__init__("took longer than its time limit (--time-limit)")


def begin(seed: int) -> None:
    """Known global state: torch in float32 on one thread with gradients, and seeded generators."""
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_num_threads(1)
    torch.manual_seed(seed % 2**63)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Known global state (`begin`) for the time of the block, and afterwards the one from before.

    What a plugin sets at import, or another task left, changes no number. Functions that are
    replaced within it are put back too (`process_state`).
    """
    before = ProcessState.now()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    begin(seed)
    try:
        yield
    finally:
        before.restore()
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop Python code after `seconds`.

    In the main thread a signal interrupts sleeping and waiting too. In another thread, such as a
    Dask worker's, the exception arrives when the next line of Python is run: also within
    `torch.no_grad` itself, before it puts the gradient mode back. So what was changed for all of
    the process (`process_state`) is put back here.

    Raises:
        TimeoutExceededError: The block took longer.
    """
    if math.isinf(seconds):
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    before = ProcessState.now()
    try:
        with _by_signal(seconds) if main else _by_watching(seconds):
            yield
    except TimeoutExceededError:
        before.restore()
        raise


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutExceededError

    before = signal.signal(signal.SIGALRM, ring)
    # Again after a second: an exception in a finaliser or a callback of the collector is swallowed.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _by_watching(seconds: float) -> Iterator[None]:
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def watch() -> None:
        if not over.wait(seconds):
            with lock:
                if not over.is_set():
                    error = ctypes.py_object(TimeoutExceededError)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()
