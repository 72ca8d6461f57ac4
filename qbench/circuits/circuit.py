"""What a circuit is: layers of rotations and CNOTs on n qubits, and the wires that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Circuit:
    """Strongly entangling layers (Schuld et al. 2020; PennyLane's `StronglyEntanglingLayers`).

    Every layer applies `Rot(φ, θ, ω) = RZ(ω) RY(θ) RZ(φ)` to each qubit, then a ring of
    CNOT(q, (q + r) mod n) for q = 0..n-1 in order, with the layer's range r. An open circuit leaves
    out the CNOTs that wrap around, so that with range 1 only neighbours on a line interact. Wire 0
    is the most significant bit of a basis state's index.

    Args:
        qubits: Number of qubits n, at least 2.
        layers: Number of layers.
        measured: Wires read out, in order.
        ranges: Entangling range of each layer; by default PennyLane's, `l mod (n - 1) + 1`.
        closed: Whether the CNOTs form rings.
        couplings: Each layer's CNOTs in order, as (control, target), in the place of rings; a
            layer may have none. Ranges are then not used.
        constants: Rotation angles that never change, as (index, radians) with the index among all
            layers · qubits · 3 in order. Engines are handed them with the others, and may build
            them into the circuit: a device does nothing where φ = θ = ω = 0.
    """

    qubits: int = 8
    layers: int = 32
    measured: tuple[int, ...] = (0, 1, 2, 3)
    ranges: tuple[int, ...] = ()
    closed: bool = True
    couplings: tuple[tuple[tuple[int, int], ...], ...] | None = None
    constants: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.qubits < 2 or self.layers < 1:
            raise ValueError("a circuit needs at least 2 qubits and 1 layer")
        if not self.measured or not set(self.measured) <= set(range(self.qubits)):
            raise ValueError(f"measured wires {self.measured} are not among {self.qubits} qubits")
        if not {index for index, _ in self.constants} <= set(range(3 * self.qubits * self.layers)):
            raise ValueError(f"constants of more than {3 * self.qubits * self.layers} angles")
        if self.couplings is not None:
            self._check_couplings(self.couplings)
            return
        if not self.ranges:
            default = tuple(layer % (self.qubits - 1) + 1 for layer in range(self.layers))
            object.__setattr__(self, "ranges", default)
        if len(self.ranges) != self.layers or not all(0 < r < self.qubits for r in self.ranges):
            raise ValueError(f"ranges {self.ranges} do not fit {self.layers} layers")

    def _check_couplings(self, couplings: tuple[tuple[tuple[int, int], ...], ...]) -> None:
        if self.ranges or not self.closed:
            raise ValueError("give couplings, or ranges and whether they are closed, not both")
        if len(couplings) != self.layers:
            raise ValueError(f"couplings of {len(couplings)} layers do not fit {self.layers}")
        for control, target in (pair for layer in couplings for pair in layer):
            if control == target or not {control, target} <= set(range(self.qubits)):
                raise ValueError(
                    f"CNOT {(control, target)} is not between two of {self.qubits} qubits"
                )

    @property
    def angles_shape(self) -> tuple[int, int, int]:
        """Shape of one set of rotation angles: (layers, qubits, 3)."""
        return self.layers, self.qubits, 3

    @cached_property
    def cnots(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Each layer's CNOTs in order, as (control, target)."""
        n = self.qubits
        if self.couplings is not None:
            return self.couplings
        return tuple(
            tuple((q, (q + r) % n) for q in range(n) if self.closed or q + r < n)
            for r in self.ranges
        )

    @cached_property
    def permutations(self) -> NDArray[np.int64]:
        """Each layer's CNOTs as indices (layers, 2^n): `new[i] = old[permutations[l, i]]`."""
        return np.stack([_permutation(self.qubits, cnots) for cnots in self.cnots])

    @cached_property
    def outcomes(self) -> NDArray[np.int64]:
        """Measured outcome of each basis state, (2^n,): its measured bits, first wire highest."""
        index = np.arange(2**self.qubits)
        bits = [(index >> (self.qubits - 1 - wire)) & 1 for wire in self.measured]
        return np.asarray(sum(bit << (len(bits) - 1 - k) for k, bit in enumerate(bits)), np.int64)


@lru_cache(maxsize=256)
def _permutation(n: int, cnots: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    index = np.arange(2**n)
    for control, target in reversed(cnots):
        index = index ^ (((index >> (n - 1 - control)) & 1) << (n - 1 - target))
    return index


@lru_cache(maxsize=16)
def z_signs(m: int) -> NDArray[np.float64]:
    """Eigenvalues of Z on each of m measured wires, (2^m, m)."""
    outcome = np.arange(2**m)[:, None]
    bits = (outcome >> np.arange(m - 1, -1, -1)) & 1
    return 1 - 2 * bits.astype(np.float64)
