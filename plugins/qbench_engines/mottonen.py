"""Real amplitudes as rotations: Möttönen, Vartiainen, Bergholm and Salomaa 2005 (quant-ph/0407010).

Qubit k is turned by RY by an angle that depends on the k qubits before it. Such a uniformly
controlled rotation is 2^k plain RY with a CNOT after each, controls in the order of a Gray code;
2^n real amplitudes take 2^n − 1 RY and 2^n − 2 CNOT. Wire 0 is the most significant bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def ry_angles(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles (batch, 2^n − 1) of the RY gates that prepare unit vectors (batch, 2^n).

    Signs are kept: the last qubit's rotations may be as large as 2π.
    """
    levels, left = [], state
    while left.shape[1] > 1:
        pairs = left.reshape(len(left), -1, 2)
        turns = 2 * np.arctan2(pairs[..., 1], pairs[..., 0])
        levels.append(turns @ _gray_transform(turns.shape[1]))
        left = np.hypot(pairs[..., 0], pairs[..., 1])
    return np.concatenate(levels[::-1], axis=1)


def gates(qubits: int) -> Iterator[tuple[int, int | None]]:
    """The gates in order: (target, control of the CNOT that follows the RY on target, or None)."""
    for target in range(qubits):
        for step in range(2**target):
            if target == 0:
                yield target, None
            elif step == 2**target - 1:  # back to the first code word
                yield target, 0
            else:
                lowest = ((step + 1) & -(step + 1)).bit_length() - 1
                yield target, target - 1 - lowest


@lru_cache(maxsize=32)
def _gray_transform(size: int) -> NDArray[np.float64]:
    """M (size, size) with θ = α M, from the angle of each control pattern to that of each RY."""
    pattern, step = np.arange(size)[:, None], np.arange(size)
    parity = np.bitwise_count(pattern & (step ^ (step >> 1))) % 2
    return np.asarray((1 - 2.0 * parity) / size)
