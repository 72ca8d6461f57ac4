"""What a run will cost, before a cent is spent."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from qbench.errors import UsageError
from qbench_hardware.circuits import circuits_of
from qbench_hardware.interface import Program
from qbench_hardware.run import READOUT, HardwareRun, job_name

MOST_IMAGES = 10_000  # beyond which nobody asks what a free plan pays for


@dataclass(frozen=True)
class Estimate:
    """Circuits, and the QPU time they are charged with.

    Args:
        program: The circuit as it is compiled for the device.
        rows: One for each kind of work: `work`, `jobs`, `circuits`, `shots`, `qpu_s`. The queries
            of an attack on the device are those of images that stand until the end: the most it
            can take.
        images: How many images that is for.
        free_images: For how many the vendor's free plan pays; None where there is none.
    """

    program: Program
    rows: list[dict[str, Any]]
    images: int
    free_images: int | None

    @property
    def seconds(self) -> float:
        """QPU seconds of all work."""
        return _seconds(self.rows)


def estimate(run: HardwareRun) -> Estimate:
    """Count the circuits of a run; trains, crafts and submits nothing.

    Raises:
        UsageError: An attack on a device that is paid for does not say how often it asks.
    """
    x = run.context.split.x
    model = run.context.provided.create().eval()
    program = run.compiled(circuits_of(model, x[:1]))
    plan = run.engine.free_plan
    free = None
    if plan is not None and not run.engine.local:
        # The more images, the more seconds: the last number that fits.
        fits = range(1, MOST_IMAGES + 1)
        free = bisect_right(fits, plan.seconds, key=lambda n: _seconds(_rows(run, program, n)))
    return Estimate(program, _rows(run, program, len(x)), len(x), free)


def dry_run_of(run: HardwareRun, cost: Estimate) -> float | None:
    """What the service itself says that the first job of clean images would take, in QPU seconds.

    None where it does not say. The images are read by a model that is not trained, since angles do
    not change how long a circuit takes.
    """
    model = run.context.provided.create().eval()
    images = run.context.split.x[: run.plan.chunk]
    return run.engine.dry_run(run.jobs("dry run", model, images)[0])


def _seconds(rows: list[dict[str, Any]]) -> float:
    return float(sum(row["qpu_s"] for row in rows))


def _rows(run: HardwareRun, program: Program, images: int) -> list[dict[str, Any]]:
    rows = [
        _row(run, program, "clean images", images),
        _row(run, program, "attacks on the ideal simulator", images, len(run.ideal)),
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
        rows.append(_row(run, program, job_name(task, "on the device: "), images, queries + 1))
    return rows


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
