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
from functools import cache, partial

import numpy as np
from numba import njit
from numba.core import event

from qbench_engines.statevector import lanes, rotations
from qbench_engines.statevector.caching import compiled
from qbench_engines.statevector.lanes import LANE_BYTES

_density, _cotangent = rotations.add_density, rotations.write_cotangent
_taint = rotations.add_taint
_phase, _shears, _product = rotations.write_phase, rotations.write_shears, rotations.write_product
_add = rotations.add_vector


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


def _sweep(name, whole, half):
    """One layer: the rotations of every group of qubits, on every set of amplitudes it mixes.

    Two or three qubits are turned at once, in registers. Four or five are turned in two halves, the
    second of two qubits: the amplitudes of the group go through a buffer that stays in the fastest
    cache, so that the state, which may not, is read and written once for all of them.

    The name becomes part of the symbol. Without it the three sweeps differ by a number that numba
    counts in each process, and two entry points that were compiled in two processes, then loaded
    from the cache into a third, may share a symbol for different code: the wrong one would run.

    Args:
        name: Of the sweep.
        whole: `whole(k)` turns groups of k qubits.
        half: `half(k, first)` turns k qubits, the first or the second half of a group.
    """
    two, three = whole(2), whole(3)
    first_two, first_three, last_two = half(2, True), half(3, True), half(2, False)
    inverse = name != "advance"

    def halves(psi, lam, sums, table, shift, k, at, places, lanes):
        offsets, others = np.empty(8, np.int64), np.empty(4, np.int64)
        steps, strides = np.empty(8, np.int64), 2 * lanes * np.arange(4)
        for i in range(1 << (k - 2)):
            offsets[i], steps[i] = places[i << (shift + 2)], 4 * strides[1] * i
        for i in range(4):
            others[i] = places[i << shift]
        buffer = aligned((4 << k) * lanes, psi)
        psi_near, lam_near = buffer[: buffer.size // 2], buffer[buffer.size // 2 :]
        phi, second = at + 2 * k * lanes, at + 2 * (k - 2) * lanes
        omega = phi + (2 << k) * lanes
        before, after = (omega, phi) if inverse else (phi, omega)
        sets, low, ahead = places.size >> k, (1 << shift) - 1, 0
        for i in range(1, sets + 1):
            base = ahead
            if i < sets:
                ahead = places[((i >> shift) << (shift + k)) | (i & low)]
            for j in range(4):
                far, next_far, near = base ^ others[j], ahead ^ others[j], strides[j]
                if k == 5:
                    first_three(
                        psi, lam, psi_near, lam_near, sums, far, next_far, offsets, near, steps,
                        table, at, before,
                    )  # fmt: skip
                else:
                    first_two(
                        psi, lam, psi_near, lam_near, sums, far, next_far, offsets, near, steps,
                        table, at, before,
                    )  # fmt: skip
            for j in range(1 << (k - 2)):
                far, near = base ^ offsets[j], steps[j]
                last_two(
                    psi, lam, psi_near, lam_near, sums, far, far, others, near, strides,
                    table, second, after,
                )  # fmt: skip

    halves.__name__ = halves.__qualname__ = name + "_halves"
    halves = njit(halves)

    def sweep(psi, lam, sums, table, groups, places, lanes):
        offsets = np.empty(8, np.int64)
        for group in range(len(groups)):
            shift, k, at = groups[group, 0], groups[group, 1], groups[group, 2] * lanes
            if k > 3:
                halves(psi, lam, sums, table, shift, k, at, places, lanes)
                continue
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


advance = _sweep(
    "advance",
    partial(rotations.apply, inverse=False),
    partial(rotations.apply_half, inverse=False),
)
retreat = _sweep(
    "retreat", partial(rotations.apply, inverse=True), partial(rotations.apply_half, inverse=True)
)
_adjoint = _sweep("adjoint", rotations.adjoint, rotations.adjoint_half)


@njit
def _collect(sums, groups, radians, place, lanes):
    """Turns a layer's sums into the gradients (φ, θ, ω) of its qubits."""
    for group in range(len(groups)):
        k, at = groups[group, 1], groups[group, 2] * lanes
        radians[place : place + 3 * k * lanes] = 0
        for qubit in range(k):
            _add(sums, at + 2 * qubit * lanes, radians, place + lanes)
            for phases, angle in ((2 * k, place), (2 * k + (2 << k), place + 2 * lanes)):
                for i in range(1 << k):
                    if (i >> (k - 1 - qubit)) & 1:
                        _add(sums, at + (phases + 2 * i) * lanes, radians, angle)
                _add(radians, angle, radians, angle)
            place += 3 * lanes


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
                table[layer, first : first + lanes] = 1  # the phase of basis state 0
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
        shared, step = len(angles) == 1, 3 * qubits * lanes  # of the radians from layer to layer
        rows = layers if shared else 1
        table = aligned(rows * vectors * lanes, psi).reshape(rows, vectors * lanes)
        taint = aligned(lanes, psi)
        amplitudes = np.zeros(state.shape[1] * lanes, psi.dtype)
        density = aligned(out.shape[1] * lanes, np.empty(0, np.float64))
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            current = psi[(block - first) % len(psi)]
            if block == first or not shared:
                gather(angles, block * lanes, lanes, radians)
                if shared:
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
                if not shared:
                    prepare(radians[layer * step :], groups, qubits, lanes, table)
                row = table[layer % rows]
                advance(current, current, current, row, groups, places, lanes)
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
        shared, step = len(angles) == 1, 3 * qubits * lanes
        rows = layers if shared else 1
        table = aligned(rows * vectors * lanes, psi).reshape(rows, vectors * lanes)
        sums = aligned(vectors * lanes, psi)
        weights = aligned(cotangent.shape[1] * lanes, psi)
        right, left = aligned(psi.shape[1], psi), aligned(psi.shape[1], psi)
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            if block == first or not shared:
                gather(angles, block * lanes, lanes, radians)
                if shared:
                    prepare(radians, groups, qubits, lanes, table)
            gather(cotangent, block * lanes, lanes, weights)
            right[:] = psi[block - first]
            write_places(ones[layers], 2 * lanes, places)
            for i in range(outcomes.size):
                _cotangent(right, places[i], weights, outcomes[i] * lanes, left)
            for layer in range(layers - 1, -1, -1):
                write_places(ones[layer], 2 * lanes, places)
                if not shared:
                    prepare(radians[layer * step :], groups, qubits, lanes, table)
                row = table[layer % rows]
                if len(by_angle):
                    sums[:] = 0
                    _adjoint(right, left, sums, row, groups, places, lanes)
                    _collect(sums, groups, radians, layer * step, lanes)
                else:
                    retreat(left, left, left, row, groups, places, lanes)
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
