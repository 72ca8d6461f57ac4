"""The `statevector` engine: exact probabilities and adjoint gradients from compiled code, on CPUs.

The forward pass keeps the final states only. The backward pass undoes the circuit layer by layer on
the state ψ and on the cotangent λ = Σ_o g_o P_o ψ (Jones and Gacon 2020, arXiv:2009.02823), which
costs about two more forward passes and no memory per layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from qbench.circuits.circuit import Circuit, z_signs
from qbench.errors import UsageError


class StatevectorEngine:
    """Exact probabilities by a batched kernel, differentiable in angles and initial state.

    A sample's result is bitwise the same for every number of threads and in every batch.

    Args:
        threads: Threads that share the batch; torch's number of threads when absent.

    Raises:
        UsageError: Less than one thread.
    """

    name = "statevector"
    exact = True
    differentiable = True

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"engine 'statevector': {threads} threads; give at least 1")
        self.threads = threads

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Distribution over the measured wires.

        Args:
            circuit: The circuit to run.
            angles: (batch, layers, qubits, 3), or (layers, qubits, 3) shared by the batch; radians,
                float32 or float64. A sample with NaN or infinity among its angles gets NaN.
            state: Real initial amplitudes (batch, 2^n); |0...0> when absent.

        Returns:
            Probabilities (batch, 2^m) in the precision of the angles, the first measured wire as
            the highest bit.

        Raises:
            UsageError: Shapes, precision or device do not fit.
        """
        _check(circuit, angles, state)
        if state is not None:
            state = state.to(angles.dtype)
        inputs = [angles] if state is None else [angles, state]
        keep = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
        run: Callable[..., Tensor] = _Run.apply
        return run(circuit, self.threads or torch.get_num_threads(), keep, angles, state)


def quadratic_forms(circuit: Circuit, angles: Tensor, threads: int | None = None) -> Tensor:
    """Matrices A_k = Re(U† Z_k U): for a real initial state x, ⟨Z_k⟩ = xᵀ A_k x.

    Args:
        circuit: The circuit, with unitary U.
        angles: (layers, qubits, 3), radians.
        threads: As in `StatevectorEngine`.

    Returns:
        Symmetric (m, 2^n, 2^n), one matrix for each measured wire, without gradient.

    Raises:
        UsageError: As in `StatevectorEngine.probabilities`.
    """
    size, plan = 2**circuit.qubits, make_plan(circuit)
    basis = torch.eye(size, dtype=angles.dtype)
    _check(circuit, angles, basis)
    rows = _rows(circuit, angles)
    _, psi = _forward(plan, threads or torch.get_num_threads(), True, rows, basis.numpy())
    # Rows: real and imaginary part of each amplitude, in the order of memory. Columns: states.
    columns = psi.reshape(len(psi), 2 * size, -1).transpose(1, 0, 2).reshape(2 * size, -1)[:, :size]
    places = np.zeros(1, np.int64)
    for one in plan.ones[-1]:
        places = np.concatenate([places, places ^ one])
    signs = np.empty((size, len(circuit.measured)))
    signs[places] = z_signs(len(circuit.measured))[plan.outcomes]
    weights = torch.from_numpy(signs.repeat(2, 0).T[:, :, None]).to(angles.dtype)
    unitary = torch.from_numpy(np.ascontiguousarray(columns))
    forms = unitary.T @ (weights * unitary)
    return (forms + forms.mT) / 2


def jacobians(
    circuit: Circuit, angles: Tensor, threads: int | None = None
) -> tuple[Tensor, Tensor]:
    """The scores ⟨Z_k⟩ of the measured wires and their derivatives with respect to every angle.

    The circuit runs forward once; its final states are undone once for every score.

    Args:
        circuit: The circuit, which starts from |0...0⟩.
        angles: (batch, layers, qubits, 3), radians.
        threads: As in `StatevectorEngine`.

    Returns:
        Scores (batch, m) and derivatives (m, batch, layers, qubits, 3), without gradient.

    Raises:
        UsageError: As in `StatevectorEngine.probabilities`.
    """
    _check(circuit, angles, None)
    plan, rows, threads = (
        make_plan(circuit),
        _rows(circuit, angles),
        threads or torch.get_num_threads(),
    )
    nothing = np.empty((0, 2**circuit.qubits), rows.dtype)
    probabilities, psi = _forward(plan, threads, True, rows, nothing)
    signs = z_signs(len(circuit.measured)).astype(rows.dtype)
    found = np.empty((signs.shape[1], *rows.shape), rows.dtype)
    for column, by_angle in zip(signs.T, found, strict=True):
        weights = np.ascontiguousarray(np.broadcast_to(column, probabilities.shape))
        _backward(plan, threads, rows, psi, weights, by_angle, nothing)
    derivatives = torch.from_numpy(found).view(len(found), -1, *circuit.angles_shape)
    return torch.from_numpy(probabilities @ signs), derivatives


def _check(circuit: Circuit, angles: Tensor, state: Tensor | None) -> None:
    if angles.dim() not in (3, 4) or tuple(angles.shape[-3:]) != circuit.angles_shape:
        wanted = f"{circuit.angles_shape}, with or without a batch in front"
        raise UsageError(f"engine 'statevector': angles {tuple(angles.shape)} should be {wanted}")
    if angles.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"engine 'statevector': {angles.dtype} angles; use float32 or float64")
    if angles.device.type != "cpu" or (state is not None and state.device.type != "cpu"):
        raise UsageError(
            "engine 'statevector' runs on the CPU; use engine 'torch' on other devices"
        )
    if state is None:
        return
    if state.dim() != 2 or state.shape[1] != 2**circuit.qubits or state.is_complex():
        wanted = f"real (batch, {2**circuit.qubits})"
        raise UsageError(f"engine 'statevector': state {tuple(state.shape)} should be {wanted}")
    batch = angles.shape[0] if angles.dim() == 4 else 1
    if batch != state.shape[0] and 1 not in (batch, state.shape[0]):
        raise UsageError(
            f"engine 'statevector': {batch} sets of angles for {state.shape[0]} states"
        )


@dataclass(frozen=True)
class Plan:
    """A circuit as the kernel reads it.

    Args:
        ones: (layers + 1, qubits) where amplitude 2^b lies after that many rings.
        groups: (groups, 3) qubits rotated together: lowest index bit, number, place in the table.
        outcomes: (2^n,) the measured outcome of each basis state.
    """

    ones: NDArray[np.int64]
    groups: NDArray[np.int64]
    outcomes: NDArray[np.int64]


@lru_cache(maxsize=64)
def make_plan(circuit: Circuit) -> Plan:
    """The circuit as the kernel reads it."""
    n = circuit.qubits
    places, bits = np.arange(2**n), 2 ** np.arange(n)
    ones = [places[bits]]
    for permutation in circuit.permutations:
        places = places[permutation]
        ones.append(places[bits])
    groups, shift, at = [], n, 0
    for k in group_sizes(n):
        shift -= k
        groups.append((shift, k, at))
        at += 2 * k + 4 * 2**k
    return Plan(np.array(ones), np.array(groups), circuit.outcomes)


def group_sizes(qubits: int) -> list[int]:
    """How many qubits are rotated together, from the highest bit of an index to the lowest.

    Up to eight: threes, with twos for the rest, since the state stays in the fastest cache. Beyond:
    as few groups of at most five as there can be, so that the state is seldom read and written.
    """
    if qubits <= 8:
        twos = -qubits % 3
        return [3] * ((qubits - 2 * twos) // 3) + [2] * twos
    groups = -(-qubits // 5)
    return [qubits // groups + (i < qubits % groups) for i in range(groups)]


class _Run(torch.autograd.Function):
    """Probabilities with the adjoint gradient; `keep` says that a backward pass may follow."""

    @staticmethod
    def forward(
        ctx: Any, circuit: Circuit, threads: int, keep: bool, angles: Tensor, state: Tensor | None
    ) -> Tensor:
        rows = _rows(circuit, angles)
        amplitudes = np.empty((0, 2**circuit.qubits), rows.dtype)
        if state is not None:
            amplitudes = state.detach().contiguous().numpy()
        out, psi = _forward(make_plan(circuit), threads, keep, rows, amplitudes)
        if keep:
            ctx.circuit, ctx.threads, ctx.psi, ctx.rows = circuit, threads, psi, rows
            ctx.shapes = angles.shape, None if state is None else state.shape
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        plan, rows, psi, batch = make_plan(ctx.circuit), ctx.rows, ctx.psi, len(cotangent)
        weights = cotangent.contiguous().numpy()
        wanted = [batch if needed else 0 for needed in ctx.needs_input_grad[3:]]
        by_angle = np.empty((wanted[0], rows.shape[1]), rows.dtype)
        by_state = np.empty((wanted[1], plan.outcomes.size), rows.dtype)
        _backward(plan, ctx.threads, rows, psi, weights, by_angle, by_state)
        gradients = [
            _gradient(*pair) for pair in zip((by_angle, by_state), ctx.shapes, strict=True)
        ]
        return None, None, None, *gradients


def _gradient(rows: NDArray[Any], shape: torch.Size | None) -> Tensor | None:
    if shape is None or not len(rows):
        return None
    if rows.size != shape.numel():  # one set of inputs served every sample
        rows = rows.sum(0, dtype=np.float64).astype(rows.dtype)
    return torch.from_numpy(rows).reshape(shape)


def _rows(circuit: Circuit, angles: Tensor) -> NDArray[Any]:
    """Angles as (batch or 1, layers * qubits * 3).

    A copy: the backward pass reads them again, and the caller may change the tensor in place.
    """
    rows: NDArray[Any] = angles.detach().numpy().copy()
    return rows.reshape(-1, 3 * circuit.layers * circuit.qubits)


def _forward(
    plan: Plan, threads: int, keep: bool, angles: NDArray[Any], state: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities (batch, 2^m) and, where `keep`, the final states (blocks, 2^n * 2 * lanes)."""
    batch = len(angles) if len(state) < 2 else len(state)
    lanes = _kernel().LANE_BYTES // angles.itemsize
    blocks, size = -(-batch // lanes), 2 * lanes * plan.outcomes.size
    psi = _aligned(blocks if keep else 0, size, angles.dtype)
    out = np.empty((batch, int(plan.outcomes.max()) + 1), angles.dtype)

    def work(first: int, last: int) -> None:
        mine = psi[first:last] if keep else _aligned(1, size, angles.dtype)
        layout = plan.ones, plan.groups, plan.outcomes
        _kernel().forward(angles, state, *layout, mine, out, first, last)

    _share(work, blocks, threads)
    return out, psi


def _backward(
    plan: Plan,
    threads: int,
    angles: NDArray[Any],
    psi: NDArray[Any],
    cotangent: NDArray[Any],
    by_angle: NDArray[Any],
    by_state: NDArray[Any],
) -> None:
    """Undoes final states `psi` of probabilities with a cotangent; fills gradients with rows."""

    def work(first: int, last: int) -> None:
        layout = plan.ones, plan.groups, plan.outcomes
        mine, gradients = psi[first:last], (by_angle, by_state)
        _kernel().backward(angles, *layout, mine, cotangent, *gradients, first, last)

    _share(work, len(psi), threads)


def _aligned(rows: int, columns: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialised array that starts at a cache line, as vector instructions demand."""
    line = 64 // dtype.itemsize
    buffer = np.empty(rows * columns + line, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % line
    return buffer[start : start + rows * columns].reshape(rows, columns)


def _share(work: Callable[[int, int], None], blocks: int, threads: int) -> None:
    """Calls `work(first, last)` for equal shares of the blocks, the first one in this thread."""
    threads = min(threads, blocks)
    bounds = [blocks * i // threads for i in range(threads + 1)] if threads else []
    shares = list(pairwise(bounds))
    others = [_pool(threads - 1).submit(work, *share) for share in shares[1:]]
    for share in shares[:1]:
        work(*share)
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="qbench-statevector")


if hasattr(os, "register_at_fork"):  # a forked child inherits the pools but not their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _kernel() -> ModuleType:
    """The compiled code; imported on first use, since numba takes a while to load."""
    from qbench_engines.statevector import kernel

    return kernel
