"""What `qbench hardware` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qbench_hardware.costs import Estimate
    from qbench_hardware.run import HardwareRun


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text; columns that hold nothing are left out."""
    from tabulate import tabulate

    names = list(dict.fromkeys(name for row in rows for name in row))
    kept = [n for n in names if any(row.get(n) is not None for row in rows)]
    values = [[row.get(name) for name in kept] for row in rows]
    headers = [name.replace("_", " ") for name in kept]
    return str(tabulate(values, headers, intfmt=",", floatfmt=".3g", missingval=""))


def summary(report: dict[str, Any]) -> str:
    """What goes with the table of results: the device, the errors, the signal that is left."""
    when = report["calibrated"] or "at a time not said"
    device = f"{report['device']}, calibrated {when}, {report['shots']} shots"
    error = report["score_error"]
    lines = [f"{device}, {report['jobs']} jobs; standard error of a score {error:.3f}"]
    for way, signal in report["signal"].items():
        if signal is not None:
            scale, error = signal["scale"], signal["error"]
            lines.append(f"signal scale s ({way}): {scale:.3f} ± {error:.3f} of the exact scores")
    certified = report["certified"]
    if certified is not None:
        shares = [f"{one['accuracy']:.3f} at {one['eps']:g}" for one in certified["certified"]]
        lines.append(
            f"certified from counts, with confidence {certified['confidence']:g}, "
            f"in {certified['norm']}: {', '.join(shares)}"
        )
    if report["readout_error"] is not None:
        lines.append(f"readout error: {report['readout_error']:.3f} of outcomes are read wrong")
    return "\n".join(lines)


def print_estimate(
    run: HardwareRun, cost: Estimate, as_json: bool, dry_run_s: float | None
) -> None:
    """Print a circuit and what running it costs.

    Args:
        run: What is to be run.
        cost: Estimate of it.
        as_json: Print JSON instead of text.
        dry_run_s: QPU seconds of the first job, as the service itself says.
    """
    about, folder = dict(cost.program.about), str(run.root)
    plan, free = run.plan, run.engine.free_plan
    if as_json:
        told = {
            "folder": folder,
            "circuit": about,
            "work": cost.rows,
            "qpu_s": cost.seconds,
            "dry_run_qpu_s": dry_run_s,
            "images": cost.images,
            "images_in_free_plan": cost.free_images,
        }
        click.echo(json.dumps(told, indent=1))
        return
    click.echo(f"{plan.model} seed {plan.seed} on {plan.engine}, {plan.shots} shots a circuit\n")
    named = ("device", "calibrated", "qubits", "two_qubit_gates", "depth", "duration_s")
    for name in (*named, "estimated_success"):
        value = "not said" if about[name] is None else about[name]
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        click.echo(f"{name.replace('_', ' '):<18} {text}")
    click.echo(f"\n{table(cost.rows)}")
    click.echo(f"\nabout {cost.seconds:.0f} QPU seconds; results would go to {folder}")
    if dry_run_s is not None:
        click.echo(f"the service's own dry run of the first job: {dry_run_s:.1f} QPU seconds")
    if free is not None and cost.free_images is not None:
        click.echo(
            f"{free.name} gives {free.seconds:.0f} s in {free.period}: enough for "
            f"{cost.free_images} of such images (asked for: {cost.images})"
        )
