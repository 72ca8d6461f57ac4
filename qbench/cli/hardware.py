"""`qbench hardware`: one model on a device, with a ledger of every job."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.hardware_tables import print_estimate, summary, table
from qbench.cli.options import (
    Listed,
    dataset_option,
    eps_option,
    json_option,
    limit_option,
    plugin_option,
    protocol_option,
)

if TYPE_CHECKING:
    from qbench.hardware.run import HardwareRun
    from qbench.registry import PluginFile

folder_argument = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
retry_option = click.option(
    "--retry-failed", is_flag=True, help="Hand jobs that failed in again; they may be charged anew."
)
detach_option = click.option(
    "--detach", is_flag=True, help="Leave once jobs are handed in; 'collect' fetches them later."
)


@click.group()
def hardware() -> None:
    """Evaluate a model on a quantum device, real or fake.

    Adversarial images are made on the exact twin of the model, the same circuit simulated, and
    evaluated on the device with the clean ones; Square can attack the device itself. Each job is
    written to a ledger before it is handed in, so a run that is interrupted, killed or cut off
    loses nothing and never submits the same work twice.

    \b
    Typical use:
      qbench hardware run --model reup-0.2 --engine ibm:fake_marrakesh --shots 1024 --limit 4
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --shots 4096 --limit 20 --dry-run
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --shots 4096 --limit 20 --detach
      qbench hardware status FOLDER     which jobs are queued, done or failed
      qbench hardware collect FOLDER    fetch what is done; the results when all is
      qbench hardware resume FOLDER     hand in what is missing, wait, and give the results

    docs/hardware.md says how to set up an account, and explains the errors people meet.
    """


@hardware.command()
@click.option("--model", required=True, help="The model ('qbench models').")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Its seed.")
@click.option(
    "--engine", required=True, metavar="ibm:DEVICE", help="E.g. ibm:ibm_torino, ibm:fake_marrakesh."
)
@click.option("--shots", type=int, default=4096, show_default=True, help="Runs of each circuit.")
@click.option(
    "--attacks",
    type=Listed(str, "names"),
    default="pgd",
    show_default=True,
    help="Attacks on the exact twin, as 'qbench run' takes them.",
)
@eps_option
@click.option(
    "--square-queries",
    type=int,
    default=0,
    show_default=True,
    help="Queries of Square on the device itself, for each image and budget; 0 for none.",
)
@click.option(
    "--readout/--no-readout",
    default=False,
    show_default=True,
    help="Measure readout errors, and give scores with and without them.",
)
@click.option(
    "--dynamical-decoupling",
    type=click.Choice(["XX", "XpXm", "XY4"]),
    help="Pulses on idle qubits.  [default: none]",
)
@click.option(
    "--twirling",
    type=click.Choice(["gates", "measurement", "all"]),
    help="Average over random Pauli frames.  [default: none]",
)
@click.option(
    "--chunk",
    type=int,
    default=100,
    show_default=True,
    help="Circuits in a job, at most; plans differ in what they allow.",
)
@click.option(
    "--max-qpu-seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="More than this is asked for first.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@protocol_option
@dataset_option
@limit_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.  [default: runs/hardware-..., one for each selection]",
)
@click.option(
    "--dry-run", is_flag=True, help="Print circuits, gates and QPU seconds, and do nothing."
)
@detach_option
@plugin_option
@json_option
def run(
    model: str,
    seed: int,
    engine: str,
    shots: int,
    attacks: tuple[str, ...],
    eps: tuple[float, ...] | None,
    square_queries: int,
    readout: bool,
    dynamical_decoupling: str | None,
    twirling: str | None,
    chunk: int,
    max_qpu_seconds: float,
    yes: bool,
    protocol: str,
    dataset: str | None,
    limit: int | None,
    out: Path | None,
    dry_run: bool,
    detach: bool,
    plugins: tuple[PluginFile, ...],
    as_json: bool,
) -> None:
    """Evaluate a model on a device; the same command goes on where it was.

    \b
    Examples:
      qbench hardware run --model reup-0.2 --engine ibm:fake_marrakesh --shots 1024 --limit 4
      qbench hardware run --model amplitude --engine ibm:ibm_torino --limit 20 --dry-run
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --attacks pgd,apgd --readout
      qbench hardware run --model reup-0.2 --engine ibm:ibm_fez --dynamical-decoupling XY4 --yes
    """
    from qbench.hardware.costs import estimate
    from qbench.hardware.plan import FILE, HardwarePlan, plugin_entries
    from qbench.hardware.run import HardwareRun
    from qbench.protocols import load_protocol

    given = {"dynamical_decoupling": dynamical_decoupling, "twirling": twirling}
    plan = HardwarePlan(
        model=model,
        seed=seed,
        engine=engine,
        shots=shots,
        attacks=attacks,
        eps=eps or (load_protocol(protocol).ranking_eps,),
        protocol=protocol,
        dataset=dataset,
        limit=limit,
        square_queries=square_queries,
        readout=readout,
        options={name: value for name, value in given.items() if value is not None},
        chunk=chunk,
        plugins=plugin_entries(plugins),
    )
    root = out or plan.folder
    begun = (root / FILE).exists()
    if begun:
        kept = HardwarePlan.load(root)
        plan = kept if kept.same_as(plan) else plan
    selected = HardwareRun(plan, root)
    ignored = sorted(set(plan.options) - set(selected.options))
    if ignored:
        click.echo(f"{engine} is simulated: {', '.join(ignored)} has no effect", err=True)
    if dry_run or not begun:
        cost = estimate(selected)
        if dry_run:
            print_estimate(selected, cost, as_json)
            return
        _confirm(cost.seconds, max_qpu_seconds, yes)
    _carry_on(selected, as_json, detach=detach)


@hardware.command()
@folder_argument
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Say which jobs of a run are queued, running, done, failed or collected.

    \b
    Example:
      qbench hardware status runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
    """
    selected = _open(folder)
    rows = []
    for entry in selected.ledger.entries.values():
        standing: str = entry.standing
        if standing == "submitted" and entry.job_id is not None:
            standing = selected.engine.state(entry.job_id).state
        rows.append(
            {
                "job": entry.name,
                "circuits": entry.circuits,
                "shots": entry.shots,
                "state": standing,
                "id": entry.job_id,
                "intended": entry.at,
                "estimated QPU s": round(entry.seconds, 1),
                "charged QPU s": entry.used_s,
                "reason": entry.reason if standing == "failed" else None,
            }
        )
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "jobs": rows}, indent=1))
        return
    click.echo(table(rows) if rows else "no job was handed in yet")


@hardware.command()
@folder_argument
@json_option
def collect(folder: Path, as_json: bool) -> None:
    """Fetch the counts of every job that is done; the results when none is missing.

    Submits nothing and does not wait.

    \b
    Example:
      qbench hardware collect runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
    """
    _carry_on(_open(folder), as_json, submit=False, detach=True)


@hardware.command()
@folder_argument
@retry_option
@detach_option
@json_option
def resume(folder: Path, retry_failed: bool, detach: bool, as_json: bool) -> None:
    """Go on with a run that was interrupted: hand in what is missing, wait, give the results.

    A job that the service may have taken without its id being noted is looked up first.

    \b
    Examples:
      qbench hardware resume runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
      qbench hardware resume --retry-failed runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
    """
    _carry_on(_open(folder), as_json, retry_failed=retry_failed, detach=detach)


def _open(folder: Path) -> HardwareRun:
    from qbench.hardware.plan import HardwarePlan
    from qbench.hardware.run import HardwareRun

    return HardwareRun(HardwarePlan.load(folder), folder)


def _carry_on(
    selected: HardwareRun,
    as_json: bool,
    *,
    submit: bool = True,
    retry_failed: bool = False,
    detach: bool = False,
) -> None:
    from qbench.hardware.flow import carry_on

    def said(line: str) -> None:
        click.echo(line, err=True)

    try:
        with selected.begun():
            found = carry_on(
                selected, said, submit=submit, retry_failed=retry_failed, wait=not detach
            )
    except KeyboardInterrupt:
        said(f"interrupted: nothing is lost, 'qbench hardware resume {selected.root}' goes on")
        raise
    if found is None:
        left = f"not all jobs are done: 'qbench hardware collect {selected.root}' looks again"
        click.echo(json.dumps({"folder": str(selected.root), "done": False}) if as_json else left)
        return
    about = {"folder": str(selected.root), "done": True, **found}
    if as_json:
        click.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    click.echo(table(found["rows"]))
    click.echo(f"\n{summary(found)}\nresults: {selected.root}")


def _confirm(seconds: float, limit: float, yes: bool) -> None:
    from qbench.errors import UsageError

    if seconds <= limit or yes:
        return
    question = f"this takes about {seconds:.0f} QPU seconds, more than {limit:.0f}"
    if not sys.stdin.isatty():
        raise UsageError(f"{question}: give --yes or a larger --max-qpu-seconds to go on")
    click.confirm(f"{question}; go on?", abort=True, err=True)
