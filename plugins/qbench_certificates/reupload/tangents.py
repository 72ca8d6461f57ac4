"""A re-uploading circuit's states and what its rotations move them by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qbench.circuits.circuit import z_signs
from qbench_engines.statevector.engine import make_plan

from . import kernel
from .gates import ReUploadGates


@dataclass(frozen=True)
class Layers:
    """A circuit at n inputs: the states before every layer, and what its rotations turn them by.

    Vectors of the 2^q amplitudes are real, with real and imaginary parts in turn, and have lost a
    phase that is the same for all that belongs to one layer (see `kernel`).

    Args:
        angles: (n, layers, qubits, 3).
        states: ψ before every layer, (n, layers, 2^(q + 1)) float64.
        observed: Z ψ, for ψ at the end and Z of every measured wire, undone to before every layer,
            (n, m, layers, 2^(q + 1)) float64.
        turned: ½ (a·σ) ψ for the axis a of every rotation, (n, layers, 3 · qubits, 2^(q + 1))
            float32.
    """

    angles: Tensor
    states: Tensor
    observed: Tensor
    turned: Tensor


def axes(angles: Tensor) -> Tensor:
    """Axes about which rotations turn the state before their gate, (..., qubits, 3, 3).

    ∂Rot/∂α = −(i/2) Rot (a·σ) for the axis a: that of the rotation, carried back through the
    rotations before it. Rows are the rotations φ, θ, ω; columns are x, y, z.

    Args:
        angles: (..., qubits, 3).
    """
    phi, theta, _ = angles.unbind(-1)
    zero = torch.zeros_like(phi)
    rows = (
        (zero, zero, zero + 1),
        (phi.sin(), phi.cos(), zero),
        (-theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def run_layers(gates: ReUploadGates, x: Tensor) -> Layers:
    """The circuit at inputs x (n, features)."""
    circuit, plan, angles = gates.circuit, make_plan(gates.circuit), gates.angles(x)
    size, signs = 2 << circuit.qubits, z_signs(len(circuit.measured)).T
    states = angles.new_empty(len(x), circuit.layers, size)
    observed = angles.new_empty(len(x), len(signs), circuit.layers, size)
    kernel.states(
        angles.flatten(1).numpy(), plan.ones, plan.groups, plan.outcomes,
        np.ascontiguousarray(signs), states.numpy(), observed.numpy(),
    )  # fmt: skip
    return Layers(angles, states, observed, turn(states, angles))


def turn(vectors: Tensor, angles: Tensor) -> Tensor:
    """½ (a·σ) v for the axis a of every rotation.

    Args:
        vectors: v before every layer, (n, layers, 2^(q + 1)) float64.
        angles: (n, layers, qubits, 3).

    Returns:
        (n, layers, 3 · qubits, 2^(q + 1)), rounded to float32.
    """
    n, layers, qubits, _ = angles.shape
    shape = n, layers, 3 * qubits, vectors.shape[-1]
    found = torch.empty(shape, dtype=torch.float32)
    for vector, axis, one in zip(vectors.numpy(), axes(angles).numpy(), found.numpy(), strict=True):
        kernel.turned(vector, axis, one)
    return found


def turned_products(vectors: Tensor, angles: Tensor) -> Tensor:
    """Real inner products of what is turned within each layer, (n, layers, g, g) float64.

    They are summed in single precision (`rounding`).

    Args:
        vectors, angles: As in `turn`.
    """
    n, layers, qubits, _ = angles.shape
    found = torch.empty(n, layers, 3 * qubits, 3 * qubits, dtype=torch.float32)
    for vector, axis, one in zip(vectors.numpy(), axes(angles).numpy(), found.numpy(), strict=True):
        kernel.turned_products(vector, axis, one)
    return found.double()


@dataclass(frozen=True)
class Tangents:
    """By how much each feature moves one image's state, i ∂ψ/∂x_k, to single precision.

    Args:
        last: At the end, (2^(q + 1), features) float32.
        reached: For every layer, at most the squared norm of Σ_k δ_k t_k for |δ| within widths
            and the tangents t_k by the rotations before the layer, but for rounding; then the same
            at the end; (layers + 1,).
        grams: Products of these tangents before some layers, (parts, features, features) float32.
        mixed: Products of rows with the tangents by the rotations up to and in their layer,
            (layers, rows, features) float32.
    """

    last: Tensor
    reached: Tensor
    grams: Tensor
    mixed: Tensor


def tangents(
    gates: ReUploadGates,
    angles: Tensor,
    turned: Tensor,
    after: Tensor,
    width: Tensor,
    parts: int,
) -> Tangents:
    """The tangents of one image with their products, or (`parts` 0) what widths allow them.

    Args:
        gates: The gates.
        angles: (layers, qubits, 3).
        turned: That of the image's states, (layers, 3 · qubits, 2^(q + 1)) float32.
        after: Rows whose products with the tangents are wanted, (layers, rows, 2^(q + 1)) float32.
        width: Of every feature, (features,) float64.
        parts: Of the circuit, before each of which the products are wanted.
    """
    return _tangents(gates, angles, turned, after, width, len(turned) + 1, parts)


def products_with_tangents(
    gates: ReUploadGates, angles: Tensor, turned: Tensor, after: Tensor
) -> Tensor:
    """Real inner products of rows with the tangents in their layer, (layers, rows, features).

    Args:
        gates, angles, turned: As in `tangents`.
        after: The rows, (layers, rows, 2^(q + 1)) float32.
    """
    width = torch.zeros(gates.features, dtype=torch.float64)
    return _tangents(gates, angles, turned, after, width, 0, 0).mixed


def _tangents(
    gates: ReUploadGates,
    angles: Tensor,
    turned: Tensor,
    after: Tensor,
    width: Tensor,
    reached: int,
    parts: int,
) -> Tangents:
    plan, features = make_plan(gates.circuit), gates.features
    found = Tangents(
        turned.new_empty(turned.shape[-1], features),
        width.new_empty(reached),
        turned.new_empty(parts, features, features),
        turned.new_empty(len(turned), after.shape[1], features),
    )
    kernel.tangents(
        angles.reshape(1, -1).numpy(), plan.ones, plan.groups, *gates.in_layers,
        gates.readings.numpy(), turned.numpy(), after.numpy(), width.numpy(),
        found.reached.numpy(), found.grams.numpy(), found.mixed.numpy(), found.last.numpy(),
    )  # fmt: skip
    return found


def rounding(gates: ReUploadGates) -> tuple[float, float]:
    """How far `tangents` and products can be from exact, for any order of summation.

    With u the unit roundoff: a phase, rounded and multiplied, is off by (1 + √2 + 1)u < 3.5u of a
    vector's norm, and each group of at least two qubits has two. A turn is three shears with
    entries t of at most 1, of norm at most φ = 1.618, whose product has norm 1. A shear a − t b
    rounds t, the product and the sum, which is at most 3t|b| + |a| < 3.2u of the norm before it;
    with the norms before and what the shears after add, that is 3.2u (φ + φ² + φ) < 19u. A source
    is rounded, its weight is and their product, and every addition to a tangent.

    Returns:
        By how much of Σ_j |R_jk|/2 the tangent of feature k can be off, in its norm; by how much of
        the product of two vectors' norms their product can be off, where they are rounded too.
    """
    unit, circuit = torch.finfo(torch.float32).eps / 2, gates.circuit
    layer = 19 * circuit.qubits + 7 * (circuit.qubits // 2)
    tangent = math.expm1(1.01 * unit * (circuit.layers * layer + gates.reads + 3))
    return tangent, 1.01 * unit * (2 ** (circuit.qubits + 1) + 2)


def gram(rows: Tensor) -> Tensor:
    """Products of the columns of rows (r, k) float32, summed in float32, as (k, k) float64."""
    return (rows.mT @ rows).double()
