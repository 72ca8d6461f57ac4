"""The compiled loops of the Taylor certificates: states, and what the rotations move them by.

They run on the sweeps of the `statevector` engine, which drop the global phase of every rotation:
the states, the observed states and the tangents before a layer all carry the same phase, so that
inner products between them are those of the circuit.

A vector of 2^q amplitudes is stored as 2^(q + 1) numbers, real and imaginary part in turn. Where
features are the lanes of a vector register, these numbers are in the order of the engine's memory.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import hashlib
import inspect

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils

from qbench_engines.statevector import kernel, lanes, rotations
from qbench_engines.statevector.caching import compiled
from qbench_engines.statevector.kernel import (
    advance,
    aligned,
    gather,
    prepare,
    retreat,
    write_places,
)
from qbench_engines.statevector.lanes import LANE_BYTES, START, Lanes, vectorised

TILE = 12  # rows whose products with one vector of features fill the registers


@vectorised
def _write_products(builder, right, left, first, stride, terms, found, at, step):
    """Writes Σ_r left[first + r · stride + h] · right[r], at + h · step, for the TILE rows h."""
    zero = ir.Constant(right.vector, [0.0] * right.lanes)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE)]
    spread = ir.Constant(ir.VectorType(ir.IntType(32), right.lanes), [0] * right.lanes)
    nowhere = ir.Constant(right.vector, ir.Undefined)
    with cgutils.for_range(builder, terms) as loop:
        features = right.load(builder.mul(loop.index, START.type(right.lanes)))
        place = builder.add(first, builder.mul(loop.index, stride))
        for h, total in enumerate(sums):
            number = builder.load(builder.gep(left.data, [builder.add(place, START.type(h))]))
            one = builder.insert_element(nowhere, number, ir.IntType(32)(0))
            one = Lanes(builder, builder.shuffle_vector(one, nowhere, spread))
            value = Lanes(builder, builder.load(total)) + one * features
            builder.store(value.value, total)
    for h, total in enumerate(sums):
        place = builder.add(at, builder.mul(step, START.type(h)))
        found.store(Lanes(builder, builder.load(total)), place)


@njit
def _table(angles, groups, layers, qubits, like):
    """The table of every layer of one circuit, the same in every lane, in the type of `like`."""
    step, some = LANE_BYTES // like.itemsize, np.empty(0, np.float64)
    double = LANE_BYTES // some.itemsize
    vectors = groups[-1, 2] + 2 * groups[-1, 1] + (4 << groups[-1, 1])
    radians = aligned(angles.shape[1] * double, some)
    gather(angles, 0, double, radians)
    table = aligned(layers * vectors * double, some)
    prepare(radians, groups, qubits, double, table.reshape(layers, vectors * double))
    found = aligned(layers * vectors * step, like)
    for i in range(layers * vectors):
        found[i * step : (i + 1) * step] = table[i * double]
    return found.reshape(layers, vectors * step)


@njit
def _write_state(memory, places, lane, lanes, found):
    """Writes one lane's amplitudes in the order of their indices."""
    for i in range(places.size):
        found[2 * i] = memory[places[i] + lane]
        found[2 * i + 1] = memory[places[i] + lanes + lane]


@njit
def _turn(v, axes, found):
    """Writes ½ (a·σ) v for every rotation of one layer, (3 · qubits, 2^(q + 1))."""
    qubits = len(axes)
    paulis = np.empty((3, v.size))
    for qubit in range(qubits):
        shift = qubits - 1 - qubit
        for i in range(v.size // 2):
            j, sign = i ^ (1 << shift), 1.0 - 2.0 * ((i >> shift) & 1)
            paulis[0, 2 * i], paulis[0, 2 * i + 1] = v[2 * j], v[2 * j + 1]
            paulis[1, 2 * i], paulis[1, 2 * i + 1] = sign * v[2 * j + 1], -sign * v[2 * j]
            paulis[2, 2 * i], paulis[2, 2 * i + 1] = sign * v[2 * i], sign * v[2 * i + 1]
        for g in range(3):
            axis, row = axes[qubit, g] / 2, found[3 * qubit + g]
            x, y, z = axis[0], axis[1], axis[2]
            for r in range(v.size):
                row[r] = x * paulis[0, r] + y * paulis[1, r] + z * paulis[2, r]


@njit
def _replace(gram, row, k, width):
    """Replaces row and column k of a symmetric matrix; returns how much δᵀ|G|δ grows by."""
    grown = 0.0
    for i in range(len(width)):
        grown += (abs(row[i]) - abs(gram[k, i])) * width[i]
    own = (abs(row[k]) - abs(gram[k, k])) * width[k]
    for i in range(len(width)):
        gram[k, i] = row[i]
        gram[i, k] = row[i]
    return width[k] * (2 * grown - own)


@njit
def _record(layer, layers, total, gram, reached, grams):
    """Keeps δᵀ|G|δ, and G before the layers at which a part of the circuit begins."""
    if len(reached):
        reached[layer] = total
    for part in range(len(grams)):
        if layer == -(-layers * part // len(grams)):
            grams[part] = gram


def _compile(sources):
    """The entry points. `sources` is in their closure so that numba's cache sees other files."""

    @compiled
    def states(angles, ones, groups, outcomes, signs, before, after):
        """Writes the states before every layer, and the observed states undone to there.

        Args:
            angles: (n, rotations) float64.
            ones, groups, outcomes: The engine's plan of the circuit.
            signs: Of every outcome (2^m) under each of m observables, (m, 2^m).
            before: The states ψ, (n, layers, 2^(q + 1)).
            after: Z ψ for every observable Z, (n, m, layers, 2^(q + 1)).
        """
        sources  # noqa: B018
        layers, qubits, size = len(ones) - 1, ones.shape[1], outcomes.size
        some = np.empty(0, np.float64)
        lanes = LANE_BYTES // some.itemsize
        right, left = aligned(2 * size * lanes, some), aligned(2 * size * lanes, some)
        places = np.zeros(size, np.int64)
        for image in range(len(angles)):
            table = _table(angles[image : image + 1], groups, layers, qubits, some)
            right[:] = 0
            right[:lanes] = 1
            for layer in range(layers):
                write_places(ones[layer], 2 * lanes, places)
                _write_state(right, places, 0, lanes, before[image, layer])
                advance(right, right, right, table[layer], groups, places, lanes)
            for first in range(0, len(signs), lanes):
                count = min(lanes, len(signs) - first)
                write_places(ones[layers], 2 * lanes, places)
                left[:] = 0
                for i in range(size):
                    for lane in range(count):
                        sign = signs[first + lane, outcomes[i]]
                        for part in range(0, 2 * lanes, lanes):
                            place = places[i] + part + lane
                            left[place] = sign * right[place]
                for layer in range(layers - 1, -1, -1):
                    write_places(ones[layer], 2 * lanes, places)
                    retreat(left, left, left, table[layer], groups, places, lanes)
                    for lane in range(count):
                        _write_state(left, places, lane, lanes, after[image, first + lane, layer])

    @compiled
    def turned(vectors, axes, found):
        """Writes ½ (a·σ) v for the axis a of every rotation.

        Args:
            vectors: v before every layer, (layers, 2^(q + 1)) float64.
            axes: (layers, qubits, 3, 3): rotations, then x, y and z.
            found: (layers, 3 · qubits, 2^(q + 1)) float32.
        """
        sources  # noqa: B018
        for layer in range(len(vectors)):
            _turn(vectors[layer], axes[layer], found[layer])

    @compiled
    def turned_products(vectors, axes, found):
        """Writes the real inner products of what is `turned` in each layer.

        Args:
            vectors, axes: As in `turned`.
            found: (layers, 3 · qubits, 3 · qubits) float32.
        """
        sources  # noqa: B018
        rows = np.empty((found.shape[1], vectors.shape[1]), np.float32)
        for layer in range(len(vectors)):
            _turn(vectors[layer], axes[layer], rows)
            found[layer] = np.dot(rows, rows.T)

    @compiled
    def tangents(
        angles, ones, groups, starts, rotation, feature, weight, before, after, width,
        reached, grams, mixed, last,
    ):  # fmt: skip
        """Moves the tangents of all features through one image's circuit, in float32.

        The tangent of feature k before layer l is t_k = Σ_j R_jk u_j over the rotations j of the
        layers up to l, carried there: i ∂ψ/∂x_k at the end.

        Args:
            angles: (1, rotations) float64.
            ones, groups: The engine's plan of the circuit.
            starts: Where the readings of each layer begin, (layers + 1,).
            rotation, feature, weight: Each reading's rotation in its layer, its feature and R_jk.
            before: The states `turned`, (layers, 3 · qubits, 2^(q + 1)) float32.
            after: Rows whose real inner products with the tangents are wanted, layer by layer,
                (layers, rows, 2^(q + 1)) float32.
            width: Of the features, (features,) float64.
            reached: δᵀGδ at most for |δ| ≤ width and the Gram matrix G of the tangents before
                every layer without its own rotations, and at the end, (layers + 1,); or empty if
                not wanted.
            grams: G for the last of these layers in each of as many equal parts of the circuit,
                (parts, features, features) float32.
            mixed: The inner products with `after`, (layers, rows, features) float32.
            last: The tangents at the end, (2^(q + 1), features) float32.
        """
        sources  # noqa: B018
        layers, qubits, features = len(ones) - 1, ones.shape[1], len(width)
        size, some = 2 << qubits, np.empty(0, np.float32)
        lanes = LANE_BYTES // some.itemsize
        blocks = -(-features // lanes)
        columns, rows = blocks * lanes, after.shape[1]
        table = _table(angles, groups, layers, qubits, some)
        moved = aligned(blocks * size * lanes, some).reshape(blocks, size * lanes)
        reads = np.zeros(blocks, np.bool_)
        gram = np.zeros((features, features), np.float32)
        total = 0.0
        places = np.zeros(size // 2, np.int64)
        for layer in range(layers):
            write_places(ones[layer], 2 * lanes, places)
            _record(layer, layers, total, gram, reached, grams)
            first, end = starts[layer], starts[layer + 1]
            for read in range(first, end):
                block, lane = feature[read] // lanes, feature[read] % lanes
                source, into = before[layer, rotation[read]], moved[block]
                w, reads[block] = np.float32(weight[read]), True
                for i in range(size // 2):
                    into[places[i] + lane] += w * source[2 * i]
                    into[places[i] + lanes + lane] += w * source[2 * i + 1]
            read_here = np.unique(feature[first:end]) if len(reached) else feature[:0]
            stride = -(-(rows + len(read_here)) // TILE) * TILE
            left = np.zeros((size, stride), np.float32)
            for i in range(size // 2):
                place = places[i] // lanes
                for row in range(rows):
                    left[place, row] = after[layer, row, 2 * i]
                    left[place + 1, row] = after[layer, row, 2 * i + 1]
            for row in range(len(read_here)):
                block, lane = read_here[row] // lanes, read_here[row] % lanes
                for r in range(size):
                    left[r, rows + row] = moved[block, r * lanes + lane]
            found = aligned(stride * columns, some)
            flat = left.reshape(-1)
            for block in range(blocks):
                if reads[block]:
                    for row in range(0, stride, TILE):
                        at = row * columns + block * lanes
                        _write_products(moved[block], flat, row, stride, size, found, at, columns)
                    advance(
                        moved[block], moved[block], moved[block], table[layer], groups, places,
                        lanes,
                    )  # fmt: skip
            products = found.reshape(stride, columns)
            mixed[layer] = products[:rows, :features]
            for row in range(len(read_here)):
                total += _replace(gram, products[rows + row], read_here[row], width)
        _record(layers, layers, total, gram, reached, grams)
        write_places(ones[layers], 2 * lanes, places)
        for i in range(size // 2):
            for k in range(features):
                block, lane = k // lanes, k % lanes
                last[2 * i, k] = moved[block, places[i] + lane]
                last[2 * i + 1, k] = moved[block, places[i] + lanes + lane]

    return states, turned, turned_products, tangents


_sources = "".join(inspect.getsource(module) for module in (kernel, lanes, rotations))
states, turned, turned_products, tangents = _compile(hashlib.sha256(_sources.encode()).hexdigest())
