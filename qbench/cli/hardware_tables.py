"""What `qbench hardware` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qbench.hardware.costs import Estimate
    from qbench.hardware.run import HardwareRun


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text; columns that hold nothing are left out."""
    from tabulate import tabulate

    names = list(dict.fromkeys(name for row in rows for name in row))
    kept = [n for n in names if any(row.get(n) is not None for row in rows)]
    return str(
        tabulate(
            [[row.get(name) for name in kept] for row in rows],
            headers=[name.replace("_", " ") for name in kept],
            intfmt=",",
            floatfmt=".3g",
            missingval="",
        )
    )


def summary(found: dict[str, Any]) -> str:
    """What goes with the table of results: the device, the errors, the signal that is left."""
    device = f"{found['device']}, calibrated {found['calibrated']}, {found['shots']} shots"
    lines = [
        f"{device}, {found['jobs']} jobs; standard error of a score {found['score_error']:.3f}"
    ]
    for way, signal in found["signal"].items():
        if signal is not None:
            scale, error = signal["scale"], signal["error"]
            lines.append(f"signal scale s ({way}): {scale:.3f} ± {error:.3f} of the exact scores")
    if found["readout_error"] is not None:
        lines.append(f"readout error: {found['readout_error']:.3f} of outcomes are read wrong")
    return "\n".join(lines)


def print_estimate(selected: HardwareRun, cost: Estimate, as_json: bool) -> None:
    """Print a circuit and what running it costs."""
    about = dict(cost.program.about)
    if as_json:
        told = {
            "folder": str(selected.root),
            "circuit": about,
            "work": cost.rows,
            "qpu_s": cost.seconds,
        }
        click.echo(json.dumps(told, indent=1))
        return
    plan = selected.plan
    click.echo(f"{plan.model} seed {plan.seed} on {plan.engine}, {plan.shots} shots a circuit\n")
    named = ("device", "calibrated", "qubits", "two_qubit_gates", "depth", "duration_s")
    rows = [[name.replace("_", " "), about[name]] for name in named]
    rows.append(["estimated success", f"{about['estimated_success']:.3f}"])
    from tabulate import tabulate

    click.echo(tabulate(rows, tablefmt="plain"))
    click.echo(f"\n{table(cost.rows)}")
    click.echo(f"\nabout {cost.seconds:.0f} QPU seconds; results would go to {selected.root}")
