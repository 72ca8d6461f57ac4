"""The most float32 multiply-adds a second that this machine's vector units do: a measurement."""

# mypy: ignore-errors
# Reason: numba ships no types, see `qbench_engines.statevector.lanes`.

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from qbench_engines.statevector.lanes import LANE_BYTES, START, vectorised

_CHAINS = 12  # independent, enough to hide the latency of two units
_LENGTH = 32
_CALLS = 4000
_LANES = LANE_BYTES // 4

MULTIPLY_ADDS = _CHAINS * _LENGTH * _CALLS * _LANES
"""Multiply-adds of one call and thread."""


@vectorised
def _chains(builder, memory):
    """`_LENGTH` multiply-adds on each of `_CHAINS` registers, with the engine's vectors."""
    registers = [memory.load(START, i) for i in range(_CHAINS)]
    factor, summand = memory.load(START, _CHAINS), memory.load(START, _CHAINS + 1)
    for _ in range(_LENGTH):
        registers = [register * factor + summand for register in registers]
    for i, register in enumerate(registers):
        memory.store(register, START, i)


@njit(nogil=True)
def _repeat(memory, calls):
    for _ in range(calls):
        _chains(memory)


def _registers() -> np.ndarray:
    size = (_CHAINS + 2) * _LANES
    buffer = np.empty(size + _LANES, np.float32)
    start = -(buffer.ctypes.data // 4) % _LANES
    memory = buffer[start : start + size]
    memory[:] = 0.5  # x / 2 + 1 / 2 stays near 1
    return memory


def peak_kernel(threads: int) -> Callable[[], None]:
    """A call that does `threads * MULTIPLY_ADDS` of them in that many threads at once."""
    memories = [_registers() for _ in range(threads)]
    pool = ThreadPoolExecutor(threads, thread_name_prefix="qbench-peak")

    def call() -> None:
        others = [pool.submit(_repeat, memory, _CALLS) for memory in memories[1:]]
        _repeat(memories[0], _CALLS)
        for other in others:
            other.result()

    return call
