"""The `statevector` engine: exact probabilities and adjoint gradients from compiled code, on the CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from qbench.circuits.circuit import Circuit, z_signs
from qbench.errors import UsageError

log = logging.getLogger("qbench")

WHOLE = 10
SECTION = 8


class StatevectorEngine:
    """Exact probabilities by a batched kernel, differentiable in angles and initial state.

    Args:
        threads: Threads that share the batch; by default torch's number of threads. Results do
            not depend on it, nor on the other samples of a batch.
    """

    name = "statevector"
    exact = True
    differentiable = True

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"statevector engine: {threads} threads; ask for at least 1")
        self.threads = threads

    def probabilities(self, circuit: Circuit, angles: Tensor, state: Tensor | None = None) -> Tensor:
        """Distribution over the measured wires, in the precision of the angles.

        Args:
            circuit: The circuit to run.
            angles: (batch, layers, qubits, 3), or (layers, qubits, 3) shared by the batch;
                radians, float32 or float64. NaN or infinity gives NaN for that sample.
            state: Initial real amplitudes (batch, 2^n); |0...0> when absent.

        Returns:
            Probabilities (batch, 2^m), the first measured wire as the highest bit.

        Raises:
            UsageError: Shapes, precision or device do not fit.
        """
        _check(circuit, angles, state)
        threads = self.threads or torch.get_num_threads()
        keep = torch.is_grad_enabled() and (angles.requires_grad or (state is not None and state.requires_grad))
        result: Tensor = _Run.apply(circuit, threads, keep, angles, state)  # type: ignore[no-untyped-call]
        return result


def quadratic_forms(circuit: Circuit, angles: Tensor, threads: int | None = None) -> Tensor:
    """Matrices A_k with ⟨Z_k⟩ = xᵀ A_k x for real initial states x: A_k = Re(U† Z_k U).

    Args:
        circuit: The circuit whose unitary is U.
        angles: (layers, qubits, 3), radians.
        threads: Threads to use; by default torch's number of threads.

    Returns:
        Real symmetric (m, 2^n, 2^n), one for each measured wire.
    """
    size = 2**circuit.qubits
    states = torch.eye(size, dtype=angles.dtype)
    _check(circuit, angles, states)
    plan = _plan(circuit)
    _, psi = _forward(plan, threads or torch.get_num_threads(), True, _rows(angles, circuit), states.numpy())
    lanes = psi.shape[1] // (2 * size)
    # One row for the real and one for the imaginary part of each amplitude, one column per state.
    unitary = psi.reshape(len(psi), 2 * size, lanes).transpose(1, 0, 2).reshape(2 * size, -1)[:, :size]
    signs = np.empty((2 * size, len(circuit.measured)))
    signs[_places(plan.ones[-1])] = 0
    outcome = np.empty(size, np.int64)
    outcome[_places(plan.ones[-1])] = plan.outcomes
    signs = np.repeat(z_signs(len(circuit.measured))[outcome], 2, 0).astype(unitary.dtype)
    forms = [unitary.T @ (signs[:, k, None] * unitary) for k in range(len(circuit.measured))]
    return torch.from_numpy(np.stack(forms))


@dataclass(frozen=True)
class _Plan:
    """A circuit as the kernel wants it."""

    ones: NDArray[np.int64]
    groups: NDArray[np.int64]
    sections: NDArray[np.int64]
    outcomes: NDArray[np.int64]

    @property
    def loops(self) -> tuple[NDArray[np.int64], ...]:
        return self.ones, self.groups, self.sections, self.outcomes


@lru_cache(maxsize=64)
def _plan(circuit: Circuit) -> _Plan:
    n = circuit.qubits
    places = np.arange(2**n)
    ones = [places[2 ** np.arange(n)]]
    for permutation in circuit.permutations:
        places = places[permutation]
        ones.append(places[2 ** np.arange(n)])
    parts = 1 if n <= WHOLE else -(-n // SECTION)
    groups: list[tuple[int, int, int]] = []
    sections: list[tuple[int, int, int, int]] = []
    shift, at = n, 0
    for part in range(parts):
        bits, first = n * (part + 1) // parts - n * part // parts, len(groups)
        twos = -bits % 3
        for k in [3] * ((bits - 2 * twos) // 3) + [2] * twos:
            shift -= k
            groups.append((shift, k, at))
            at += 2 * k + 4 * 2**k
        sections.append((shift, bits, first, len(groups)))
    return _Plan(np.array(ones), np.array(groups), np.array(sections), circuit.outcomes)


def _places(ones: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.zeros(1, np.int64)
    for one in ones:
        places = np.concatenate([places, places ^ one])
    return places


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, circuit: Circuit, threads: int, keep: bool, angles: Tensor, state: Tensor | None) -> Tensor:
        rows = _rows(angles, circuit)
        amplitudes = None if state is None else state.detach().contiguous().numpy()
        out, psi = _forward(_plan(circuit), threads, keep, rows, amplitudes)
        ctx.circuit, ctx.threads, ctx.psi, ctx.rows = circuit, threads, psi, rows
        ctx.shapes = angles.shape, None if state is None else state.shape
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        plan, rows = _plan(ctx.circuit), ctx.rows
        weights = np.ascontiguousarray(cotangent.detach().numpy(), rows.dtype)
        batch = len(weights)
        by_angle = np.empty((batch if ctx.needs_input_grad[3] else 0, rows.shape[1]), rows.dtype)
        by_state = np.empty((batch if ctx.needs_input_grad[4] else 0, 2**ctx.circuit.qubits), rows.dtype)

        def work(first: int, last: int) -> None:
            _kernel().backward(rows, *plan.loops, ctx.psi[first:last], weights, by_angle, by_state, first, last)

        _share(work, len(ctx.psi), ctx.threads)
        return None, None, None, _gradient(by_angle, ctx.shapes[0], len(rows)), _gradient(by_state, ctx.shapes[1], 0)


def _gradient(rows: NDArray[Any], shape: torch.Size | None, given: int) -> Tensor | None:
    if not len(rows) or shape is None:
        return None
    if rows.size != shape.numel():  # one row served the whole batch
        rows = rows.sum(0, dtype=np.float64).astype(rows.dtype)
    return torch.from_numpy(rows).reshape(shape)


def _rows(angles: Tensor, circuit: Circuit) -> NDArray[Any]:
    rows: NDArray[Any] = angles.detach().contiguous().numpy()
    return rows.reshape(-1, int(np.prod(circuit.angles_shape)))


def _forward(
    plan: _Plan, threads: int, keep: bool, angles: NDArray[Any], state: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    size = 2 ** plan.ones.shape[1]
    state = np.empty((0, size), angles.dtype) if state is None else state
    batch = max(len(angles), len(state))
    lanes = _kernel().LANE_BYTES // angles.itemsize
    blocks = -(-batch // lanes)
    psi = _aligned((blocks if keep else min(blocks, threads), 2 * size * lanes), angles.dtype)
    out = np.empty((batch, int(plan.outcomes.max()) + 1), angles.dtype)

    def work(first: int, last: int) -> None:
        mine = psi[first:last] if keep else psi[first*len(psi)//blocks:][:1]
        _kernel().forward(angles, state, *plan.loops, mine, out, first, last)

    _share(work, blocks, threads)
    return out, psi


def _aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    size, step = shape[0] * shape[1], 64 // dtype.itemsize
    buffer = np.empty(size + step, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % step
    return buffer[start : start + size].reshape(shape)


def _share(work: Callable[[int, int], None], blocks: int, threads: int) -> None:
    threads = min(threads, blocks)
    bounds = [blocks * i // threads for i in range(threads + 1)]
    if threads<=1:
        work(0,blocks)
        return
    pool = _pool(threads - 1)
    rest = [pool.submit(work, *span) for span in zip(bounds[1:-1], bounds[2:])]
    work(0, bounds[1])
    for future in rest:
        future.result()


@lru_cache(maxsize=None)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="qbench-statevector")


os.register_at_fork(after_in_child=_pool.cache_clear)


@lru_cache(maxsize=1)
def _kernel() -> ModuleType:
    from qbench.circuits import kernel
    return kernel


def _check(circuit: Circuit, angles: Tensor, state: Tensor | None) -> None:
    if angles.dim() not in (3, 4) or tuple(angles.shape[-3:]) != circuit.angles_shape:
        raise UsageError(f"statevector engine: angles {tuple(angles.shape)} do not fit {circuit.angles_shape}")
