"""Shots: what an engine with exact probabilities shows when each circuit is run a few times.

A run of a circuit is one draw from the joint distribution of its measured wires, so the counts of
`shots` runs are one multinomial draw, with the right correlations between wires.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import expectations
from qbench.errors import UsageError
from qbench.interfaces import Engine

MOST_SHOTS = 10**9  # counts beyond are no better than exact probabilities, and overflow in the end


class SampledEngine:
    """Relative frequencies of a number of shots, drawn afresh at every call.

    Gradients pass straight through the draw to the exact probabilities, which are its expectation:
    whoever knows the weights can compute them, so shots hide no gradient from an attack.

    Args:
        engine: Gives exact probabilities.
        shots: Runs of each circuit.
        seed: Of all draws; two calls with one input differ, two engines with one seed do not.

    Raises:
        UsageError: Less than one shot, or more than anybody needs.
    """

    exact = False

    def __init__(self, engine: Engine, shots: int, seed: int) -> None:
        check_shots(engine.name, shots)
        self.engine, self.shots = engine, shots
        self.name, self.differentiable = engine.name, engine.differentiable
        self._generator = np.random.default_rng(seed)

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Relative frequencies (batch, 2^m) of the outcomes; arguments as for the exact engine."""
        exact = self.engine.probabilities(circuit, angles, state)
        frequencies = draw_frequencies(exact.detach(), self.shots, self._generator)
        return frequencies + (exact - exact.detach())  # adds 0, and the gradient of `exact`


def draw_frequencies(probabilities: Tensor, shots: int, generator: np.random.Generator) -> Tensor:
    """Multinomial counts over `shots`, (batch, k), for distributions (batch, k).

    Rounding is mended first: negative entries become 0 and rows sum to 1. A row with NaN stays so.
    """
    exact = probabilities.double().cpu().numpy()
    finite = np.isfinite(exact).all(1, keepdims=True)
    mended = np.where(finite, exact.clip(0), 1.0)
    mended /= mended.sum(1, keepdims=True)
    counts = generator.multinomial(shots, mended) / shots
    return torch.from_numpy(np.where(finite, counts, np.nan)).to(probabilities)


def standard_errors(frequencies: Tensor, shots: int) -> Tensor:
    """Standard errors of ⟨Z_k⟩ estimated from `shots`, (batch, m).

    A single outcome ±1 has variance 1 − ⟨Z⟩², and its mean over N shots one N-th of that.

    Args:
        frequencies: Relative frequencies (batch, 2^m), or exact probabilities for the errors to
            expect.
        shots: N.
    """
    variances: Tensor = 1 - expectations(frequencies).square()
    return (variances.clamp_min(0) / shots).sqrt()


def fresh_seed(generator: np.random.Generator) -> int:
    """A seed for one call of a simulator: never 0, which Qiskit takes for none."""
    return int(generator.integers(1, 2**31 - 1))


def check_shots(engine: str, shots: int | None) -> None:
    """Raise `UsageError` for a number of shots that is none, or too large for any purpose."""
    if shots is not None and not 1 <= shots <= MOST_SHOTS:
        raise UsageError(
            f"engine {engine!r}: {shots} shots; give at least 1 and at most {MOST_SHOTS:,}, or "
            "leave shots out"
        )
