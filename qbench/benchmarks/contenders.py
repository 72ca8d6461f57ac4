"""Who takes part: our engines in this file, other libraries in those beside it."""

from __future__ import annotations

import torch

from qbench.benchmarks.jax_fused import FUSED
from qbench.benchmarks.pennylane_forms import PENNYLANE
from qbench.benchmarks.problem import Contender, Prepared, Problem, solve
from qbench.benchmarks.simulators import SIMULATORS
from qbench.circuits.statevector import StatevectorEngine
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.interfaces import Engine

DEFAULT = "statevector"
ONE_THREAD = "statevector, 1 thread"


def _prepare(engine: Engine, problem: Problem) -> Prepared:
    @torch.no_grad()
    def forward() -> torch.Tensor:
        return expectations(engine.probabilities(problem.circuit, problem.angles))

    return Prepared(forward, lambda: solve(engine, problem))


def contenders(threads: int) -> tuple[Contender, ...]:
    """Every contender, the default engine first.

    Args:
        threads: How many the default engine uses.
    """
    many, one, plain = StatevectorEngine(threads), StatevectorEngine(1), TorchEngine()
    return (
        Contender(
            DEFAULT,
            f"our default engine, float32, adjoint gradient, {threads} threads",
            lambda problem: _prepare(many, problem),
            whole=True,
        ),
        Contender(
            ONE_THREAD,
            "the same on one thread",
            lambda problem: _prepare(one, problem),
            whole=True,
        ),
        Contender(
            "torch",
            "our reference engine: plain torch, complex64, autograd",
            lambda problem: _prepare(plain, problem),
        ),
        FUSED,
        *SIMULATORS,
        *PENNYLANE,
    )
