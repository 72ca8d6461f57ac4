"""What a run will cost, before a cent is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.errors import UsageError
from qbench_hardware.circuits import circuits_of
from qbench_hardware.interface import Program
from qbench_hardware.run import READOUT, HardwareRun, job_name


@dataclass(frozen=True)
class Estimate:
    """Circuits, and the QPU time they are charged with.

    Args:
        program: The circuit as it is compiled for the device.
        rows: One for each kind of work: `work`, `jobs`, `circuits`, `shots`, `qpu_s`. The queries
            of an attack on the device are those of images that stand until the end: the most it
            can take.
    """

    program: Program
    rows: list[dict[str, Any]]

    @property
    def seconds(self) -> float:
        """QPU seconds of all work."""
        return float(sum(row["qpu_s"] for row in self.rows))


def estimate(run: HardwareRun) -> Estimate:
    """Count the circuits of a run; trains, crafts and submits nothing.

    Raises:
        UsageError: An attack on a device that is paid for does not say how often it asks.
    """
    x = run.context.split.x
    model = run.context.provided.create().eval()
    program = run.compiled(circuits_of(model, x[:1]))
    rows = [
        _row(run, program, "clean images", len(x)),
        _row(run, program, "attacks on the ideal simulator", len(x), len(run.ideal)),
    ]
    if run.plan.readout:
        rows.append(_row(run, program, READOUT, program.outcomes))
    for task in run.device:
        asked = task.identity.attack
        attack = run.registry.get("attack", asked.name).create(**asked.params)
        queries = getattr(attack, "passes", (0, 0))[0]
        if not queries and not run.engine.local:
            raise UsageError(
                f"--device-attack {asked.name} does not declare how many queries it takes "
                "(`passes`): it may not search on a device that is paid for"
            )
        # One more round evaluates what came out.
        rows.append(_row(run, program, job_name(task, "on the device: "), len(x), queries + 1))
    return Estimate(program, rows)


def _row(
    run: HardwareRun, program: Program, work: str, circuits: int, rounds: int = 1
) -> dict[str, Any]:
    whole, rest = divmod(circuits, run.plan.chunk)
    sizes = [run.plan.chunk] * whole + [rest] * (rest > 0)
    seconds = [run.engine.seconds(run.job(work, program, np.empty((n, 0)))) for n in sizes]
    return {
        "work": work,
        "jobs": len(sizes) * rounds,
        "circuits": circuits * rounds,
        "shots": circuits * rounds * run.plan.shots,
        "qpu_s": round(rounds * sum(seconds), 1),
    }
