"""Any sequence of gates as a `Circuit`: RZ, RY and CNOT put into layers of rotations and CNOTs.

RZ, RY and CNOT are universal, so whatever libraries and files have is written by them first. An
angle may be anything that can be added: a number, which becomes a constant of the circuit, or what
stands for one, such as a symbol or a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qbench.circuits.circuit import Circuit

_PHI, _THETA, _OMEGA = range(3)


@dataclass(frozen=True)
class Written:
    """A sequence of gates as a circuit.

    Args:
        circuit: With all rotation angles that are numbers as its constants.
        angles: The others by their index among all layers · qubits · 3 in order.
    """

    circuit: Circuit
    angles: Mapping[int, Any]


class GateSequence:
    """Gates in the order in which they act; each goes into the first layer that it can be in.

    Args:
        qubits: Their number; a circuit has at least 2, of which one may do nothing.
    """

    def __init__(self, qubits: int) -> None:
        self.qubits = max(2, qubits)
        self._rotations: dict[tuple[int, int], list[Any]] = {}  # (layer, qubit): φ, θ, ω
        self._cnots: dict[int, list[tuple[int, int]]] = {}  # of each layer that has some
        self._layer = [0] * self.qubits  # that each qubit's next rotation goes into
        self._last: list[int | None] = [None] * self.qubits  # angle that is set there

    def rz(self, qubit: int, angle: Any) -> None:
        """Rotation about Z."""
        self._add(qubit, _PHI if self._last[qubit] in (None, _PHI) else _OMEGA, angle)

    def ry(self, qubit: int, angle: Any) -> None:
        """Rotation about Y."""
        if self._last[qubit] == _OMEGA and not _is_zero(self._open(qubit)[_OMEGA]):
            self._move(qubit, self._layer[qubit] + 1)
        self._add(qubit, _THETA, angle)

    def rx(self, qubit: int, angle: Any) -> None:
        """Rotation about X: a quarter turn about Z, back after a rotation about Y."""
        self.rz(qubit, math.pi / 2)
        self.ry(qubit, angle)
        self.rz(qubit, -math.pi / 2)

    def rot(self, qubit: int, phi: Any, theta: Any, omega: Any) -> None:
        """RZ(ω) RY(θ) RZ(φ), which is Qiskit's U(θ, ω, φ) but for a phase."""
        self.rz(qubit, phi)
        self.ry(qubit, theta)
        self.rz(qubit, omega)

    def hadamard(self, qubit: int) -> None:
        """The Hadamard gate, but for a phase."""
        self.rot(qubit, math.pi, math.pi / 2, 0.0)

    def cnot(self, control: int, target: int) -> None:
        """CNOT, in the first layer that holds none of its qubits' later gates."""
        both = (control, target)
        layer = max(self._layer[q] - (self._last[q] is None) for q in both)
        layer = max(layer, 0)
        self._cnots.setdefault(layer, []).append(both)
        for qubit in both:
            self._move(qubit, layer + 1)

    def written(self, measured: Iterable[int]) -> Written:
        """All gates so far as a circuit, with the qubits read out in order.

        Raises:
            ValueError: No qubit is measured, or one that is not there.
        """
        layers = 1 + max([0, *self._cnots, *(layer for layer, _ in self._rotations)])
        angles: list[Any] = [0.0] * (3 * self.qubits * layers)
        for (layer, qubit), rotation in self._rotations.items():
            first = 3 * (layer * self.qubits + qubit)
            angles[first : first + 3] = rotation
        circuit = Circuit(
            self.qubits,
            layers,
            tuple(measured),
            couplings=tuple(tuple(self._cnots.get(layer, ())) for layer in range(layers)),
            constants=tuple((i, a) for i, a in enumerate(angles) if isinstance(a, float)),
        )
        return Written(circuit, {i: a for i, a in enumerate(angles) if not isinstance(a, float)})

    def _open(self, qubit: int) -> list[Any]:
        return self._rotations.setdefault((self._layer[qubit], qubit), [0.0, 0.0, 0.0])

    def _add(self, qubit: int, place: int, angle: Any) -> None:
        number = float(angle) if isinstance(angle, (int, float)) else angle
        if _is_zero(number):
            return
        rotation = self._open(qubit)
        rotation[place] = number if _is_zero(rotation[place]) else rotation[place] + number
        self._last[qubit] = place

    def _move(self, qubit: int, layer: int) -> None:
        self._layer[qubit], self._last[qubit] = layer, None


def _is_zero(angle: Any) -> bool:
    return isinstance(angle, float) and angle == 0
