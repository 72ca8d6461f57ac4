"""A quantum convolutional network: the same gates on every pair of neighbours, and pooling."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.interfaces import Engine
from qbench_quantum.models import AmplitudeEncoded, qubits_for

_GATE, _POOL = 15, 3  # parameters of a two-qubit gate, and of a controlled rotation
Pair = tuple[int, int]
# Layers of a two-qubit gate: the parameters that are the angles (φ, θ, ω) of its two qubits, None
# for an angle of 0, and whether a CNOT follows from the first to the second, or back.
_CONVOLUTION: tuple[tuple[tuple[int | None, ...], tuple[int | None, ...], int], ...] = (
    ((0, 1, 2), (3, 4, 5), 1),
    ((None, 6, None), (7, None, None), -1),
    ((None, 8, None), (None, None, None), 1),
    ((9, 10, 11), (12, 13, 14), 0),
)


class QCNN(AmplitudeEncoded):
    """Convolution and pooling by turns on the state x/‖x‖₂ (Cong, Choi and Lukin 2019).

    A convolution applies one two-qubit gate of 15 parameters, the general one of SU(4), to the
    pairs (0, 1), (2, 3), ... and then (1, 2), (3, 4), ... around the ring, as in Hur et al. 2022
    (arXiv:2108.00661) on images of 256 pixels. Pooling turns every second qubit under the control
    of its neighbour, which is then left alone: a controlled `Rot` instead of a measurement that
    chooses the rotation. Qubits are pooled as long as one a class is left, and ⟨Z⟩ of those that
    are left are the scores.

    Args:
        features: Length of an input; amplitudes beyond it are 0.
        classes: Their number.
        blocks: Convolutions before each pooling, and before the measurement.
        engine: Where the circuit runs.
    """

    mixing: Tensor

    def __init__(
        self,
        features: int = 256,
        classes: int = 4,
        blocks: int = 1,
        engine: Engine | None = None,
    ) -> None:
        qubits = qubits_for(features, classes)
        plan = _Plan(qubits)
        kept = list(range(qubits))
        while True:
            for _ in range(blocks):
                plan.convolve(kept)
            if len(kept) // 2 < classes:
                break
            kept = plan.pool(kept)
        super().__init__(
            Circuit(
                qubits,
                len(plan.couplings),
                tuple(kept[:classes]),
                couplings=tuple(plan.couplings),
            ),
            features,
            engine,
        )
        self.theta = nn.Parameter(2 * math.pi * torch.rand(plan.parameters))
        self.register_buffer("mixing", plan.mixing(), persistent=False)

    def angles(self) -> Tensor:
        """Rotation angles (layers, qubits, 3), each a sum of parameters."""
        return (self.mixing @ self.theta).view(self.circuit.angles_shape)


class _Plan:
    """Layers written one after the other: their CNOTs, and what their angles are made of."""

    def __init__(self, qubits: int) -> None:
        self.qubits, self.parameters = qubits, 0
        self.couplings: list[tuple[Pair, ...]] = []
        self.terms: list[tuple[int, int, float]] = []  # angle, parameter, factor

    def convolve(self, kept: list[int]) -> None:
        """The same gate on every pair of neighbours, with parameters of its own."""
        first = self._new(_GATE)
        for pairs in _neighbours(kept):
            for on_control, on_target, direction in _CONVOLUTION:
                for pair in pairs:
                    for qubit, names in zip(pair, (on_control, on_target), strict=True):
                        for place, name in enumerate(names):
                            if name is not None:
                                self._angle(qubit, place, first + name, 1.0)
                self._close(pairs if direction > 0 else [(b, a) for a, b in pairs] * -direction)

    def pool(self, kept: list[int]) -> list[int]:
        """A rotation (φ, θ, ω) of every second qubit under the control of the one before it.

        With A = Rot(0, θ/2, ω), B = Rot(−(φ + ω)/2, −θ/2, 0) and C = Rot((φ − ω)/2, 0, 0), ABC = 1
        and A X B X C = Rot(φ, θ, ω).
        """
        phi, theta, omega = range(self._new(_POOL), self.parameters)
        pairs = list(zip(kept[0::2], kept[1::2], strict=False))
        for _, qubit in pairs:
            self._angle(qubit, 0, phi, 0.5)
            self._angle(qubit, 0, omega, -0.5)
        self._close(pairs)
        for _, qubit in pairs:
            self._angle(qubit, 0, phi, -0.5)
            self._angle(qubit, 0, omega, -0.5)
            self._angle(qubit, 1, theta, -0.5)
        self._close(pairs)
        for _, qubit in pairs:
            self._angle(qubit, 1, theta, 0.5)
            self._angle(qubit, 2, omega, 1.0)
        self._close([])
        return kept[1::2]

    def mixing(self) -> Tensor:
        """A matrix from the parameters to the angles, (3 · qubits · layers, parameters)."""
        matrix = torch.zeros(3 * self.qubits * len(self.couplings), self.parameters)
        for angle, parameter, factor in self.terms:
            matrix[angle, parameter] += factor
        return matrix

    def _new(self, count: int) -> int:
        self.parameters += count
        return self.parameters - count

    def _angle(self, qubit: int, place: int, parameter: int, factor: float) -> None:
        layer = len(self.couplings)
        self.terms.append((3 * (layer * self.qubits + qubit) + place, parameter, factor))

    def _close(self, cnots: list[Pair]) -> None:
        self.couplings.append(tuple(cnots))


def _neighbours(kept: list[int]) -> Iterator[list[Pair]]:
    """Pairs that can be done at once, on a ring: those from even places, then those from odd."""
    yield list(zip(kept[0::2], kept[1::2], strict=False))
    if len(kept) > 2:
        around = kept[1:] + kept[:1]
        yield list(zip(around[0::2], around[1::2], strict=False))
