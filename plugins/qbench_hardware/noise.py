"""What a device does to scores: readout errors and their correction, and the signal left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbench.circuits.circuit import z_signs
from qbench.errors import VerificationError
from qbench_hardware.interface import Counts

Matrix = NDArray[np.float64]
_SINGULAR = 1e3  # condition number from which an inverse says nothing


@dataclass(frozen=True)
class Readout:
    """Readout errors of the measured wires, correlations included.

    Args:
        matrix: (2^m, 2^m); row i is the distribution read where outcome i was prepared.
    """

    matrix: Matrix

    @classmethod
    def measured(cls, counts: Counts | Matrix) -> Readout:
        """From counts or frequencies (2^m, 2^m) of circuits that prepare each outcome in order.

        Raises:
            VerificationError: Outcomes can hardly be told apart: there is no correction.
        """
        matrix = counts / counts.sum(1, keepdims=True)
        condition = np.linalg.cond(matrix)
        if not condition < _SINGULAR:
            raise VerificationError(
                f"the readout matrix has condition number {condition:.3g}: the device does not "
                "tell outcomes apart; choose other qubits or another device"
            )
        return cls(matrix)

    @property
    def error(self) -> float:
        """Mean probability of reading another outcome than the one prepared."""
        return float(1 - np.diag(self.matrix).mean())

    def correct(self, frequencies: Matrix) -> Matrix:
        """Distributions (n, 2^m) without readout errors: the matrix inverted, then the nearest
        distribution in ℓ2, since an inverse may leave the simplex.

        Source: Smolin, Gambetta and Smith 2012 (arXiv:1106.5458), the same projection for spectra.
        """
        inverted = np.asarray(np.linalg.solve(self.matrix.T, frequencies.T).T, np.float64)
        return nearest_distributions(inverted)

    @property
    def signs(self) -> Matrix:
        """(2^m, m): what each outcome counts towards ⟨Z_k⟩ when errors are inverted."""
        m = len(self.matrix).bit_length() - 1
        return np.asarray(np.linalg.solve(self.matrix, z_signs(m)), np.float64)


def nearest_distributions(rows: Matrix) -> Matrix:
    """The probability distribution nearest to each row (n, k) in ℓ2."""
    ordered = -np.sort(-rows, axis=1)
    excess = (ordered.cumsum(1) - 1) / np.arange(1, rows.shape[1] + 1)
    last = (ordered > excess).sum(1) - 1
    nearest: Matrix = np.maximum(rows - excess[np.arange(len(rows)), last][:, None], 0)
    return nearest


def score_errors(frequencies: Matrix, shots: int, signs: Matrix | None = None) -> Matrix:
    """Standard errors (n, m) of ⟨Z_k⟩ estimated from relative frequencies (n, 2^m).

    Args:
        frequencies: As read.
        shots: Runs of each circuit.
        signs: What each outcome counts, (2^m, m); ±1 by default, `Readout.signs` after correction
            (the statistical error of the readout matrix itself is left out).
    """
    if signs is None:
        signs = z_signs(frequencies.shape[1].bit_length() - 1)
    variance = frequencies @ signs**2 - (frequencies @ signs) ** 2
    return np.sqrt(variance.clip(0) / shots)


@dataclass(frozen=True)
class Signal:
    """How much of the exact scores a device shows: 1 for all, 0 for noise alone.

    Args:
        scale: Least-squares slope s of device scores on exact ones, with an offset.
        error: Standard error of the slope; NaN for fewer than three scores.
    """

    scale: float
    error: float

    @classmethod
    def fitted(cls, exact: Matrix, device: Matrix) -> Signal | None:
        """From scores of any equal shape; None where the exact ones do not vary."""
        x, y = exact.ravel(), device.ravel()
        centred = x - x.mean()
        spread = float(centred @ centred)
        if not spread > 0:
            return None
        slope = float(centred @ y) / spread
        residual = y - y.mean() - slope * centred
        free = len(x) - 2
        error = float(np.sqrt(residual @ residual / free / spread)) if free > 0 else float("nan")
        return cls(slope, error)
