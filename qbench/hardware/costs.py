"""What a run will cost, before a cent is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.hardware.circuits import circuits_of
from qbench.hardware.interface import Program
from qbench.hardware.plan import HardwarePlan
from qbench.hardware.run import READOUT, HardwareRun


@dataclass(frozen=True)
class Estimate:
    """Circuits, and the QPU time they are charged with.

    Args:
        program: The circuit as it is compiled for the device.
        rows: One for each kind of work: `work`, `jobs`, `circuits`, `shots`, `qpu_s`. The queries
            of Square are those of images that stand until the end: the most it can take.
    """

    program: Program
    rows: list[dict[str, Any]]

    @property
    def seconds(self) -> float:
        """QPU seconds of all work."""
        return float(sum(row["qpu_s"] for row in self.rows))


def estimate(run: HardwareRun) -> Estimate:
    """Count the circuits of a run; trains, crafts and submits nothing."""
    plan, n = run.plan, len(run.place.split.y)
    model = run.place.spec().create().eval()
    program = run.compiled(circuits_of(model, run.place.split.x[:1]))
    attacks = len(run.tasks) - 1
    rows = [_row(run, program, "clean images", n), _row(run, program, "twin attacks", n, attacks)]
    if plan.readout:
        rows.append(_row(run, program, READOUT, program.outcomes))
    if plan.square_queries:
        rounds = (plan.square_queries + 1) * len(plan.eps)  # one more evaluates what came out
        rows.append(_row(run, program, f"square, {plan.square_queries} queries", n, rounds))
    return Estimate(program, rows)


def _row(
    run: HardwareRun, program: Program, work: str, circuits: int, rounds: int = 1
) -> dict[str, Any]:
    plan: HardwarePlan = run.plan
    sizes = [plan.chunk] * (circuits // plan.chunk) + [circuits % plan.chunk or plan.chunk]
    sizes = sizes[: math.ceil(circuits / plan.chunk)]
    jobs = [run.job(work, program, np.empty((size, 0))) for size in sizes]
    return {
        "work": work,
        "jobs": len(jobs) * rounds,
        "circuits": circuits * rounds,
        "shots": circuits * rounds * plan.shots,
        "qpu_s": round(rounds * sum(run.engine.seconds(job) for job in jobs), 1),
    }
