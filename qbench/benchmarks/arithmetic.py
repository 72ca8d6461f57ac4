"""How much arithmetic a circuit takes: multiply-adds counted, per sample.

One multiply-add is a·b + c on real numbers, one instruction of every modern vector unit; a lone
product counts as one too. Angles' sines and cosines, loads, stores and the CNOT rings, which only
permute, count nothing. Two forms of the same circuit are counted, per layer and amplitude, n
qubits:

textbook
    Each rotation as a complex 2x2 matrix: 16 multiply-adds for a pair of amplitudes, so 8n. The
    adjoint undoes every gate on ψ and on λ (16n) and takes Im⟨λ|σ|ψ⟩ for three Pauli matrices,
    4 multiply-adds a pair each (6n).
factored
    What the `statevector` engine does. RZ(ω) RY(θ) RZ(φ) up to a global phase: e^iφ on the
    amplitudes with the bit set, a real rotation as three shears, then e^iω. Shears take 3
    multiply-adds for a pair of real numbers: 3n. The phases of k qubits that are treated together
    are one complex factor (4 multiply-adds) on all but one of 2^k amplitudes, before and after:
    8 Σ (1 - 2^-k) over the groups. The adjoint does both on ψ and λ, and sums
    Im(λ* ψ) at each phase, 2 multiply-adds, and ⟨λ|Y|ψ⟩ for each θ, 4 a pair: 2n + 4 Σ (1 - 2^-k).

Both read out |ψ|², 2 multiply-adds an amplitude, and start the adjoint with λ = g ψ, 2 more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["textbook", "factored"]


@dataclass(frozen=True)
class Count:
    """Multiply-adds for one sample: the forward pass, and the adjoint pass after it."""

    forward: int
    adjoint: int

    @property
    def gradient(self) -> int:
        """Forward and adjoint together."""
        return self.forward + self.adjoint


def groups(qubits: int) -> tuple[int, ...]:
    """Sizes of the groups of qubits treated together: threes, with twos for the rest."""
    twos = -qubits % 3
    return (3,) * ((qubits - 2 * twos) // 3) + (2,) * twos


def multiply_adds(qubits: int, layers: int, form: Form = "factored") -> Count:
    """Multiply-adds of a circuit of `layers` strongly entangling layers (see the module)."""
    size = 2**qubits
    if form == "textbook":
        turn, read = 8 * qubits * size, 6 * qubits * size
    else:
        factors = sum(size - (size >> k) for k in groups(qubits))
        turn, read = 3 * qubits * size + 8 * factors, 2 * qubits * size + 4 * factors
    ends = 2 * size
    return Count(layers * turn + ends, layers * (2 * turn + read) + ends)
