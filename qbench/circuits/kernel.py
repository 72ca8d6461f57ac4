"""The compiled loops of the `statevector` engine: forward and adjoint passes over blocks of samples.

A block is as many samples as a vector register has lanes. Its state is a flat array of 2^n
amplitudes, each a vector of real and a vector of imaginary parts.

CNOT rings move no data. They are linear maps of the index over GF(2), so `_places` says where
each amplitude lies after the rings so far, and the next layer pairs amplitudes through that.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import hashlib
import inspect
import logging

import numpy as np
from numba import njit

from qbench.circuits import lanes, rotations
from qbench.circuits.lanes import LANE_BYTES

_density, _cotangent = rotations.add_density, rotations.write_cotangent
_collect2, _collect3 = rotations.collect(2), rotations.collect(3)


@njit
def _aligned(size, like):
    """An array of zeros that vector loads and stores may use."""
    step = LANE_BYTES // like.itemsize
    buffer = np.zeros(size + step, like.dtype)
    start = (-(buffer.ctypes.data // like.itemsize)) % step
    return buffer[start : start + size]


@njit
def _spread(i, shift, bits):
    """The index i with `bits` zero bits inserted at bit `shift`."""
    return ((i >> shift) << (shift + bits)) | (i & ((1 << shift) - 1))


@njit
def _places(ones, step, places):
    """Writes the address of every amplitude, from the places of the indices with one bit set."""
    for bit in range(len(ones)):
        for i in range(1 << bit):
            places[(1 << bit) + i] = places[i] ^ (ones[bit] * step)


def _sweep(two, three):
    """One layer: a step for every group of qubits and every set of amplitudes the group mixes.

    Groups that form a section finish one part of the state, small enough for the cache, before the
    next. Each step is told where the following one starts, to fetch that early.
    """

    @njit
    def sweep(psi, lam, sums, table, groups, sections, places, lanes):
        offsets = np.empty(8, np.int64)
        for section in range(len(sections)):
            low, bits = sections[section, 0], sections[section, 1]
            for part in range(places.size >> bits):
                start = places[_spread(part, low, bits)]
                for group in range(sections[section, 2], sections[section, 3]):
                    shift, k, at = groups[group, 0], groups[group, 1], groups[group, 2] * lanes
                    for i in range(1 << k):
                        offsets[i] = places[i << shift]
                    steps, base = 1 << (bits - k), start
                    for i in range(steps):
                        here = base
                        base = start ^ places[_spread((i + 1) % steps, shift - low, k) << low]
                        if k == 3:
                            three(psi, lam, sums, here, base, offsets, table, at)
                        else:
                            two(psi, lam, sums, here, base, offsets, table, at)

    return sweep


_advance = _sweep(rotations.apply(2, inverse=False), rotations.apply(3, inverse=False))
_retreat = _sweep(rotations.apply(2, inverse=True), rotations.apply(3, inverse=True))
_adjoint = _sweep(rotations.adjoint(2), rotations.adjoint(3))


@njit
def _gather(source, first, lanes, target):
    """Copies rows of samples into lanes; a lone row serves all, lanes past the last row stay zero."""
    for lane in range(lanes):
        row = 0 if len(source) == 1 else first + lane
        if row < len(source):
            for i in range(source.shape[1]):
                target[i * lanes + lane] = source[row, i]


@njit
def _scatter(source, first, lanes, target):
    """Copies lanes back into rows of samples."""
    for lane in range(min(lanes, len(target) - first)):
        for i in range(target.shape[1]):
            target[first + lane, i] = source[i * lanes + lane]


@njit
def _prepare(angles, groups, qubits, per_layer, lanes, table, taint):
    """Fills the table of all layers; `taint` becomes NaN for samples with an angle that is not finite."""
    taint[:] = 0
    for i in range(0, angles.size, lanes):
        for lane in range(lanes):
            taint[lane] += angles[i + lane] * 0
    for layer in range(angles.size // (3 * qubits * lanes)):
        first = layer * qubits * 3 * lanes
        for group in range(len(groups)):
            k, at = groups[group, 1], (layer * per_layer + groups[group, 2]) * lanes
            for qubit in range(k):
                rotations.write_shears(angles, first + lanes, table, at + 2 * qubit * lanes)
                for phases, angle in ((2 * k, 0), (2 * k + (2 << k), 2)):
                    place = at + (phases + (2 << (k - 1 - qubit))) * lanes
                    rotations.write_phase(angles, first + angle * lanes, table, place)
                first += 3 * lanes
            for phases in (2 * k, 2 * k + (2 << k)):
                for i in range(3, 1 << k):
                    if i & (i - 1):
                        low, rest = at + (phases + 2 * (i & -i)) * lanes, at + (phases + 2 * (i & (i - 1))) * lanes
                        rotations.write_product(table, rest, low, at + (phases + 2 * i) * lanes)


def _compile(sources):
    """The two entry points. `sources` is in their closure, so that the disk cache notices changes."""

    @njit(cache=True, nogil=True)
    def forward(angles, state, ones, groups, sections, outcomes, psi, out, first, last):
        """Runs blocks first..last-1: final states into `psi`, probabilities into `out`.

        `psi` has one row per block, or a single row that every block overwrites.
        """
        sources  # noqa: B018
        lanes = LANE_BYTES // psi.itemsize
        layers, qubits = len(ones) - 1, ones.shape[1]
        per_layer = groups[-1, 2] + 2 * groups[-1, 1] + (4 << groups[-1, 1])
        radians = _aligned(angles.shape[1] * lanes, psi)
        table = _aligned(layers * per_layer * lanes, psi)
        taint = np.empty(lanes, psi.dtype)
        amplitudes = _aligned(outcomes.size * lanes, psi)
        wide = _aligned(out.shape[1] * lanes, np.empty(0, np.float64))
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            current = psi[(block - first) % len(psi)]
            if block == first or len(angles) > 1:
                _gather(angles, block * lanes, lanes, radians)
                _prepare(radians, groups, qubits, per_layer, lanes, table, taint)
            current[:] = 0
            _places(ones[0], 2 * lanes, places)
            if len(state):
                amplitudes[:] = 0
                _gather(state, block * lanes, lanes, amplitudes)
                for i in range(outcomes.size):
                    for lane in range(lanes):
                        current[places[i] + lane] = amplitudes[i * lanes + lane]
            else:
                current[:lanes] = 1
            for layer in range(layers):
                _places(ones[layer], 2 * lanes, places)
                part = table[layer * per_layer * lanes : (layer + 1) * per_layer * lanes]
                _advance(current, current, current, part, groups, sections, places, lanes)
            _places(ones[layers], 2 * lanes, places)
            for i in range(wide.size):
                wide[i] = taint[i % lanes]
            for i in range(outcomes.size):
                _density(current, places[i], wide, outcomes[i] * lanes)
            _scatter(wide, block * lanes, lanes, out)

    @njit(cache=True, nogil=True)
    def backward(angles, ones, groups, sections, outcomes, psi, cotangent, by_angle, by_state, first, last):
        """Undoes blocks first..last-1 from their final states, writing the gradients that have rows."""
        sources  # noqa: B018
        lanes = LANE_BYTES // psi.itemsize
        layers, qubits = len(ones) - 1, ones.shape[1]
        per_layer = groups[-1, 2] + 2 * groups[-1, 1] + (4 << groups[-1, 1])
        radians = _aligned(angles.shape[1] * lanes, psi)
        table = _aligned(layers * per_layer * lanes, psi)
        sums = _aligned(per_layer * lanes, psi)
        taint = np.empty(lanes, psi.dtype)
        weights = _aligned(cotangent.shape[1] * lanes, psi)
        right, left = _aligned(psi.shape[1], psi), _aligned(psi.shape[1], psi)
        places = np.zeros(outcomes.size, np.int64)
        for block in range(first, last):
            if block == first or len(angles) > 1:
                _gather(angles, block * lanes, lanes, radians)
                _prepare(radians, groups, qubits, per_layer, lanes, table, taint)
            weights[:] = 0
            _gather(cotangent, block * lanes, lanes, weights)
            for i in range(weights.size):
                weights[i] += taint[i % lanes]
            right[:] = psi[block - first]
            _places(ones[layers], 2 * lanes, places)
            for i in range(outcomes.size):
                _cotangent(right, places[i], weights, outcomes[i] * lanes, left)
            for layer in range(layers - 1, -1, -1):
                _places(ones[layer], 2 * lanes, places)
                part = table[layer * per_layer * lanes : (layer + 1) * per_layer * lanes]
                if len(by_angle) == 0:
                    _retreat(left, left, left, part, groups, sections, places, lanes)
                    continue
                sums[:] = 0
                _adjoint(right, left, sums, part, groups, sections, places, lanes)
                place = layer * qubits * 3 * lanes
                for group in range(len(groups)):
                    k, at = groups[group, 1], groups[group, 2] * lanes
                    if k == 3:
                        _collect3(sums, at, radians, place)
                    else:
                        _collect2(sums, at, radians, place)
                    place += 3 * k * lanes
            if len(by_angle):
                _scatter(radians, block * lanes, lanes, by_angle)
            if len(by_state):
                _places(ones[0], 2 * lanes, places)
                for lane in range(min(lanes, len(by_state) - block * lanes)):
                    for i in range(outcomes.size):
                        by_state[block * lanes + lane, i] = 2 * left[places[i] + lane]

    return forward, backward


_digest = hashlib.sha256("".join(map(inspect.getsource, (lanes, rotations))).encode())
forward, backward = _compile(_digest.hexdigest())
