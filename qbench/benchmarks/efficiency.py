"""The default engine against the arithmetic: the same calls, beside the machine's peak."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from qbench.benchmarks.arithmetic import multiply_adds
from qbench.benchmarks.peak import MULTIPLY_ADDS, peak_kernel
from qbench.benchmarks.problem import Problem, solve
from qbench.benchmarks.report import Efficiency
from qbench.benchmarks.timing import best_times
from qbench.circuits.circuit import Circuit
from qbench.circuits.statevector import StatevectorEngine
from qbench.circuits.torch_engine import expectations


def measure_efficiency(
    circuits: tuple[Circuit, ...],
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    spend_s: float,
    rounds: int,
) -> tuple[Efficiency, ...]:
    """Time the default engine on every circuit, batch and number of threads, peak included."""
    calls: dict[tuple[int, int, int, str], Callable[[], object]] = {
        (0, 0, count, "peak"): peak_kernel(count) for count in threads
    }
    for place, circuit in enumerate(circuits):
        for batch in batches:
            problem = Problem.random(circuit, batch)
            for count in threads:
                engine = StatevectorEngine(count)
                calls[place, batch, count, "forward"] = partial(_forward, engine, problem)
                calls[place, batch, count, "gradient"] = partial(solve, engine, problem)
    for call in calls.values():
        call()
    best = best_times(calls, spend_s, rounds)
    found = []
    for (place, batch, count, kind), timed in best.items():
        if kind == "peak":
            continue
        work = multiply_adds(circuits[place].qubits, circuits[place].layers)
        found.append(
            Efficiency(
                qubits=circuits[place].qubits,
                layers=circuits[place].layers,
                batch=batch,
                threads=count,
                kind=kind,
                seconds=timed.seconds,
                multiply_adds=batch * (work.forward if kind == "forward" else work.gradient),
                peak=count * MULTIPLY_ADDS / best[0, 0, count, "peak"].seconds,
            )
        )
    return tuple(found)


@torch.no_grad()
def _forward(engine: StatevectorEngine, problem: Problem) -> object:
    return expectations(engine.probabilities(problem.circuit, problem.angles))
