"""Readout correction, standard errors and the signal scale, on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qbench.circuits.circuit import z_signs
from qbench.errors import VerificationError
from qbench_hardware.noise import Readout, Signal, nearest_distributions, score_errors


def _flips(*rates: tuple[float, float]) -> np.ndarray:
    """Independent readout errors: P(1 read | 0) and P(0 read | 1) of each wire."""
    matrix = np.eye(1)
    for up, down in rates:
        matrix = np.kron(matrix, [[1 - up, up], [down, 1 - down]])
    return matrix


def test_correction_undoes_known_readout_errors_in_the_order_of_the_wires() -> None:
    readout = Readout.measured(np.round(_flips((0.0, 0.0), (0.1, 0.3)) * 1000).astype(np.int64))
    truth = np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]])
    read = truth @ readout.matrix
    # Wire 1 reads 1 instead of 0 with probability 0.1, 0 instead of 1 with 0.3.
    assert read[0] == pytest.approx([0.15, 0.15, 0.39, 0.31])
    assert readout.correct(read) == pytest.approx(truth)
    assert read @ readout.signs == pytest.approx(truth @ z_signs(2))
    assert readout.error == pytest.approx(0.2)


def test_a_device_that_reads_noise_cannot_be_corrected() -> None:
    with pytest.raises(VerificationError, match="condition number"):
        Readout.measured(np.full((4, 4), 250))


@given(arrays(np.float64, (3, 4), elements=st.floats(-2, 2)))
def test_the_nearest_distribution_is_one_and_none_is_nearer(rows: np.ndarray) -> None:
    nearest = nearest_distributions(rows)
    assert nearest.min() >= 0
    assert nearest.sum(1) == pytest.approx(1)
    distance = np.linalg.norm(nearest - rows, axis=1)
    others = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    for row, least in zip(rows, distance, strict=True):
        assert np.linalg.norm(others - row, axis=1).min() >= least - 1e-9
    assert nearest_distributions(nearest) == pytest.approx(nearest)


def test_standard_errors_are_those_of_repeated_draws() -> None:
    generator, shots = np.random.default_rng(1), 200
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    readout = Readout(_flips((0.02, 0.05), (0.1, 0.1)))
    for signs in (z_signs(2), readout.signs):
        drawn = generator.multinomial(shots, truth, size=20_000) / shots @ signs
        expected = score_errors(truth[None], shots, signs)[0]
        assert drawn.std(0) == pytest.approx(expected, rel=0.03)
    assert score_errors(truth[None], shots)[0] == pytest.approx(
        np.sqrt((1 - (truth @ z_signs(2)) ** 2) / shots)
    )


def test_the_signal_scale_is_the_slope_and_its_error_covers_it() -> None:
    generator = np.random.default_rng(2)
    exact = generator.uniform(-0.2, 1, (500, 4))
    device = 0.07 * exact + 0.2 + generator.normal(0, 0.05, exact.shape)
    found = Signal.fitted(exact, device)
    assert found is not None
    assert abs(found.scale - 0.07) < 3 * found.error
    # Standard error of a slope: σ / √(Σ (x − x̄)²).
    assert found.error == pytest.approx(0.05 / np.sqrt(exact.size * exact.var()), rel=0.1)
    assert Signal.fitted(np.ones((2, 2)), np.zeros((2, 2))) is None
