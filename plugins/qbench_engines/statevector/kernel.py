"""The compiled loops of the `statevector` engine: forward and adjoint passes over the samples.

A block is as many samples as a vector register has lanes. Its state is a flat array of 2^n
amplitudes, each a vector of real and a vector of imaginary parts.

CNOT rings move no data. They are linear maps of the index over GF(2), so `write_places` says where
each amplitude lies after the rings so far, and the next layer pairs amplitudes through that.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import hashlib
import inspect
import logging
from functools import cache

import numpy as np
from numba import njit
from numba.core import event

from qbench_engines.statevector import lanes, rotations
from qbench_engines.statevector.caching import compiled
from qbench_engines.statevector.lanes import LANE_BYTES

_density, _cotangent = rotations.add_density, rotations.write_cotangent
_taint = rotations.add_taint
_phase, _shears, _product = rotations.write_phase, rotations.write_shears, rotations.write_product
_collect2, _collect3 = rotations.collect(2), rotations.collect(3)


@njit
def aligned(size, like):
    """An array of zeros, of the type of `like`, that vector loads and stores may use."""
    step = LANE_BYTES // like.itemsize
    buffer = np.zeros(size + step, like.dtype)
    start = (-(buffer.ctypes.data // like.itemsize)) % step
    return buffer[start : start + size]


@njit
def write_places(ones, step, places):
    """Writes the address of every amplitude, from the places of the indices with one bit set."""
    for bit in range(len(ones)):
        for i in range(1 << bit):
            places[(1 << bit) + i] = places[i] ^ (ones[bit] * step)


def _sweep(name, two, three):
    """One layer: a step for every group of 2 or 3 qubits and every set of amplitudes it mixes.

    The name becomes part of the symbol. Without it the three sweeps differ by a number that numba
    counts in each process, and two entry points that were compiled in two processes, then loaded
    from the cache into a third, may share a symbol for different code: the wrong one would run.
    """

    def sweep(psi, lam, sums, table, groups, places, lanes):
        offsets = np.empty(8, np.int64)
        for group in range(len(groups)):
            shift, k, at = groups[group, 0], groups[group, 1], groups[group, 2] * lanes
            for i in range(1 << k):
                offsets[i] = places[i << shift]
            for i in range(places.size >> k):
                base = places[((i >> shift) << (shift + k)) | (i & ((1 << shift) - 1))]
                if k == 3:
                    three(psi, lam, sums, base, offsets, table, at)
                else:
                    two(psi, lam, sums, base, offsets, table, at)

    sweep.__name__ = sweep.__qualname__ = name
    return njit(sweep)


advance = _sweep("advance", rotations.apply(2, inverse=False), rotations.apply(3, inverse=False))
retreat = _sweep("retreat", rotations.apply(2, inverse=True), rotations.apply(3, inverse=True))
_adjoint = _sweep("adjoint", rotations.adjoint(2), rotations.adjoint(3))


@njit
def _collect(sums, groups, radians, place, lanes):
    """Writes one layer's angle gradients."""
    for group in range(len(groups)):
        if groups[group, 1] == 3:
            _collect3(sums, groups[group, 2] * lanes, radians, place)
        else:
            _collect2(sums, groups[group, 2] * lanes, radians, place)
        place += 3 * groups[group, 1] * lanes


@njit
def gather(source, first, lanes, target):
    """Copies rows of samples into lanes; a lone row serves all, lanes past the last row get 0."""
    for lane in range(lanes):
        row = 0 if len(source) == 1 else first + lane
        for i in range(source.shape[1]):
            target[i * lanes + lane] = source[row, i] if row < len(source) else 0


@njit
def _scatter(source, first, lanes, target):
    """Copies lanes back into rows of samples."""
    for lane in range(min(lanes, len(target) - first)):
        for i in range(target.shape[1]):
            target[first + lane, i] = source[i * lanes + lane]


@njit
def prepare(radians, groups, qubits, lanes, table):
    """Fills the table of every layer."""
    for layer in range(len(table)):
        angle = layer * qubits * 3 * lanes
        for group in range(len(groups)):
            k, at = groups[group, 1], groups[group, 2] * lanes
            phi, omega = at + 2 * k * lanes, at + (2 * k + (2 << k)) * lanes
            for qubit in range(k):
                one = (2 << (k - 1 - qubit)) * lanes
                _shears(radians, angle + lanes, table[layer], at + 2 * qubit * lanes)
                _phase(radians, angle, table[layer], phi + one)
                _phase(radians, angle + 2 * lanes, table[layer], omega + one)
                angle += 3 * lanes
            for first in (phi, omega):
                for i in range(3, 1 << k):
                    low = i & -i
                    if i != low:
                        left, right = first + 2 * (i ^ low) * lanes, first + 2 * low * lanes
                        _product(table[layer], left, right, first + 2 * i * lanes)


def _compile(sources):
    """The two entry points.

    `sources` is in their closure because numba's disk cache would miss changes of other files.
    """

    @compiled
    def forward(angles, state, ones, groups, outcomes, psi, out, first, last):
        """Runs blocks first..last-1: final states into `psi`, probabilities into `out`.

        `psi` has one row per block, or a single row that each block overwrites. A `state` without
        rows stands for |0...0>.
        """
        sources  # noqa: B018
        lanes, layers, qubits = LANE_BYTES // psi.itemsize, len(ones) - 1, ones.shape[1]
        vectors = groups[-1, 2] + 2 * groups[-1, 1] + (4 << groups[-1, 1])
        radians = aligned(angles.shape[1] * lanes, psi)
        table = aligned(layers * vectors * lanes, psi).reshape(layers, vectors * lanes)
        taint = aligned(lanes, psi)
        amplitudes = np.zeros(state.shape[1] * lanes, psi.dtype)
        density = aligned(out.shape[1] * lanes, np.empty(0, np.float64))
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            current = psi[(block - first) % len(psi)]
            if block == first or len(angles) > 1:
                gather(angles, block * lanes, lanes, radians)
                prepare(radians, groups, qubits, lanes, table)
                taint[:] = 0
                for i in range(0, radians.size, lanes):
                    _taint(radians, i, taint)
            current[:] = 0
            current[:lanes] = 1
            if len(state):
                write_places(ones[0], 2 * lanes, places)
                gather(state, block * lanes, lanes, amplitudes)
                for i in range(amplitudes.size):
                    current[places[i // lanes] + i % lanes] = amplitudes[i]
            for layer in range(layers):
                write_places(ones[layer], 2 * lanes, places)
                advance(current, current, current, table[layer], groups, places, lanes)
            write_places(ones[layers], 2 * lanes, places)
            for i in range(density.size):  # a NaN phase spoils only the amplitudes it multiplies
                density[i] = taint[i % lanes]
            for i in range(outcomes.size):
                _density(current, places[i], density, outcomes[i] * lanes)
            _scatter(density, block * lanes, lanes, out)

    @compiled
    def backward(angles, ones, groups, outcomes, psi, cotangent, by_angle, by_state, first, last):
        """Undoes blocks first..last-1 of final states; writes the gradients that have rows."""
        sources  # noqa: B018
        lanes, layers, qubits = LANE_BYTES // psi.itemsize, len(ones) - 1, ones.shape[1]
        vectors = groups[-1, 2] + 2 * groups[-1, 1] + (4 << groups[-1, 1])
        radians = aligned(angles.shape[1] * lanes, psi)
        table = aligned(layers * vectors * lanes, psi).reshape(layers, vectors * lanes)
        sums = aligned(vectors * lanes, psi)
        weights = aligned(cotangent.shape[1] * lanes, psi)
        right, left = aligned(psi.shape[1], psi), aligned(psi.shape[1], psi)
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            if block == first or len(angles) > 1:
                gather(angles, block * lanes, lanes, radians)
                prepare(radians, groups, qubits, lanes, table)
            gather(cotangent, block * lanes, lanes, weights)
            right[:] = psi[block - first]
            write_places(ones[layers], 2 * lanes, places)
            for i in range(outcomes.size):
                _cotangent(right, places[i], weights, outcomes[i] * lanes, left)
            for layer in range(layers - 1, -1, -1):
                write_places(ones[layer], 2 * lanes, places)
                if len(by_angle):
                    sums[:] = 0
                    _adjoint(right, left, sums, table[layer], groups, places, lanes)
                    _collect(sums, groups, radians, layer * qubits * 3 * lanes, lanes)
                else:
                    retreat(left, left, left, table[layer], groups, places, lanes)
            if len(by_angle):
                _scatter(radians, block * lanes, lanes, by_angle)
            if len(by_state):
                for lane in range(min(lanes, len(by_state) - block * lanes)):
                    for i in range(outcomes.size):
                        by_state[block * lanes + lane, i] = 2 * left[places[i] + lane]

    return forward, backward


class _Announcement(event.Listener):
    """Says that a compilation is under way, so that it does not look like a hang."""

    def on_start(self, event):
        if event.data["dispatcher"] in (forward, backward):
            _announce(str(event.data["args"][0].dtype))

    def on_end(self, event):
        pass


@cache
def _announce(precision):
    text = "compiling the circuit kernel for %s, once per machine (about 10 s)"
    logging.getLogger("qbench").info(text, precision)


_sources = "".join(inspect.getsource(module) for module in (lanes, rotations))
forward, backward = _compile(hashlib.sha256(_sources.encode()).hexdigest())
event.register("numba:compile", _Announcement())
