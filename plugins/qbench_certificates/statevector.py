"""What rounding can do to the scores of a circuit on the engines that simulate it exactly.

The gates are unitary, so that errors add up: where step k is off by at most κ_k units of roundoff
of its input's norm, the state is off by at most expm1(u Σ κ_k).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine
from qbench.errors import Unsupported
from qbench_engines.statevector import StatevectorEngine

from .rounding import TRIGONOMETRIC, Precision

_DOUBLE = torch.finfo(torch.float64).eps / 2
_TABLE = 4.0  # units of float64 that sines, cosines and tangents of the engine's table can be off
_SECOND_ORDER = 1.01  # a few units of roundoff are this little more than what is linear in them


def state_error(model: nn.Module, circuit: Circuit, theta: Tensor, spread: Tensor) -> Tensor:
    """By how much the state at the circuit's end can be off, in its norm, (n,).

    Args:
        model: The model; what its `engine` computes is bounded.
        circuit: Its circuit.
        theta: The angle θ of every RY(θ), (n, layers, qubits).
        spread: How far each of these angles can be from that, (n, layers, qubits).

    Raises:
        Unsupported: Nothing is known about how the engine rounds.
    """
    engine = getattr(model, "engine", None)
    precision = Precision.of(model)
    if isinstance(engine, StatevectorEngine):
        steps = _rotations(theta, spread).sum((1, 2))
    elif isinstance(engine, TorchEngine):
        steps = torch.full_like(theta[:, 0, 0], circuit.layers * _matrices(circuit.qubits))
    else:
        raise Unsupported(
            f"how {type(engine).__name__} rounds is not known, so no certificate holds for its "
            "scores: give the model the engine 'statevector'"
        )
    unit = precision.unit + _TABLE * _DOUBLE
    return torch.expm1(_SECOND_ORDER * unit * steps)


def margin_error(circuit: Circuit, precision: Precision, state: Tensor) -> Tensor:
    """By how much the difference of two ⟨Z⟩ can be off where the state is off by `state`, (n,).

    ⟨Z_y − Z_c⟩ has norm 2. An amplitude is squared in two parts, each probability is a sum over the
    amplitudes of its outcome, each score one over the outcomes.
    """
    outcomes = 2 ** len(circuit.measured)
    terms = 3 + 2**circuit.qubits // outcomes + outcomes
    scores = precision.rounded(terms, (1 + state).square())
    return 4 * state + 2 * state.square() + 2 * scores


def _rotations(theta: Tensor, spread: Tensor) -> Tensor:
    """κ of each qubit's Rot(φ, θ, ω) on the `statevector` engine, for θ within `spread`.

    *Phases.* Those of a group of k qubits are products of k rounded phases; a product of complex
    numbers of modulus 1 is off by 1 + √2 units, and so is its product with an amplitude: k(2 + √2)
    in all, for φ and again for ω.

    *Turns.* Three shears a − tb, b + sa, a − tb with t = |tan(θ/4)| ≤ 1 and s = |sin(θ/2)|. With a
    rounded factor, product and sum the first is off by 2t|b| + |a − tb| ≤ √(1 + 9t²) for a vector
    of norm 1, which the other two keep; the second by 2s√(1 + t²) + 1, which the third makes
    √(1 + t²) times as large, 4t + √(1 + t²); the third by √(1 + 4t²).
    """
    half = theta / 2
    away = (half - math.pi * torch.round(half / math.pi)).abs() + spread / 2
    t = torch.tan(away.clamp(max=math.pi / 2) / 2)
    square = t.square()
    turns = (1 + 9 * square).sqrt() + 4 * t + (1 + square).sqrt() + (1 + 4 * square).sqrt()
    return 2 * (2 + math.sqrt(2)) + turns


def _matrices(qubits: int) -> float:
    """κ of a layer on the `torch` engine, which multiplies by the matrices of either half.

    An entry of Rot(φ, θ, ω) is the product of a sine or cosine of θ/2 with one of (φ ± ω)/2, each
    off by `TRIGONOMETRIC` units: the matrix is off by √8 times 2 · `TRIGONOMETRIC` + 1 units, and
    by as much as the rounding of (φ ± ω)/2, which the angles' own error counts. The product of k
    of them has 2^k entries in a row, is off by 1 + √2 units an entry and product; multiplying by it
    by γ of 2 · 2^k + 2 and √2 for complex numbers, times ‖|U|‖ ≤ 2^(k/2).
    """
    total = 0.0
    for k in ((qubits + 1) // 2, qubits // 2):
        size, norm = 2**k, 2 ** (k / 2)
        total += k * math.sqrt(8) * (2 * TRIGONOMETRIC + 1)
        total += (k - 1) * (1 + math.sqrt(2)) * norm + math.sqrt(2) * (2 * size + 2) * norm
    return total
