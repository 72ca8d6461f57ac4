"""`qbench hardware`: one model on a device, with a ledger of every job."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qbench.cli.options import (
    HELP,
    Listed,
    dataset_option,
    json_option,
    limit_option,
    plugin_option,
    protocol_option,
)
from qbench.cli.tasks import typed
from qbench_hardware.tables import print_estimate, summary, table

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench_hardware.run import HardwareRun

SHOTS = 4096  # unless others are asked for

folder_argument = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
retry_option = click.option(
    "--retry-failed", is_flag=True, help="Hand jobs that failed in again; they may be charged anew."
)
detach_option = click.option(
    "--detach", is_flag=True, help="Leave once jobs are handed in; 'collect' fetches them later."
)


@click.group(context_settings=HELP)
def hardware() -> None:
    """Evaluate a model on a quantum device, real or fake.

    Adversarial images are made on the ideal (noiseless) simulator of the model's circuit, and
    evaluated on the device with the clean ones; attacks that need no gradients can search on the
    device itself. Each job is written to a ledger before it is handed in, so a run that is
    interrupted, killed or cut off loses nothing and never submits the same work twice.

    \b
    Typical use:
      qbench hardware run --model reup-0.2 --engine ibm:fake_marrakesh --limit 4
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --dry-run
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --detach
      qbench hardware status FOLDER     which jobs are queued, done or failed
      qbench hardware collect FOLDER    fetch what is done, and the results
      qbench hardware resume FOLDER     hand in what is missing, and wait

    docs/hardware.md says how to set up an account, and explains the errors people meet.
    """


@hardware.command()
@click.option(
    "--model",
    required=True,
    help="The model ('qbench models'), or MODEL@NAME:DEVICE:SHOTS for it, engine and shots in one.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Its seed.")
@click.option(
    "--engine",
    metavar="NAME:DEVICE",
    help="E.g. ibm:ibm_torino, ibm:fake_marrakesh, iqm:fake_garnet.",
)
@click.option("--shots", type=int, show_default=str(SHOTS), help="Runs of each circuit.")
@click.option(
    "--attacks",
    type=Listed(str, "names"),
    default="pgd",
    show_default=True,
    help="Attacks on the ideal simulator, as 'qbench run' takes them.",
)
@click.option(
    "--device-attack",
    "device_attacks",
    multiple=True,
    metavar="NAME:PARAMETER=VALUE:...",
    help="An attack without gradients on the device itself, such as square:queries=100 "
    "(repeatable); every query of it is a job.",
)
@click.option(
    "--eps",
    type=Listed(float, "numbers"),
    help="Budgets ε in pixel units.  [default: the one that the protocol ranks by, such as 0.1]",
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
    "--dry-run",
    is_flag=True,
    help="Print circuits, gates, QPU seconds and what a free plan takes; run nothing.",
)
@detach_option
@plugin_option
@json_option
def run(
    model: str,
    engine: str | None,
    shots: int | None,
    eps: tuple[float, ...] | None,
    dynamical_decoupling: str | None,
    twirling: str | None,
    max_qpu_seconds: float,
    yes: bool,
    protocol: str,
    out: Path | None,
    dry_run: bool,
    detach: bool,
    plugins: tuple[PluginFile, ...],
    as_json: bool,
    **asked: Any,
) -> None:
    """Evaluate a model on a device; the same command goes on where it was.

    \b
    Examples:
      qbench hardware run --model reup-0.2 --engine ibm:fake_marrakesh --limit 4
      qbench hardware run --model reup-0.2@ibm:fake_marrakesh:1024 --limit 4
      qbench hardware run --model amplitude --engine ibm:ibm_torino --dry-run
      qbench hardware run --model reup-0.2 --engine ibm:ibm_torino --readout
      qbench hardware run --model reup --engine ibm:ibm_fez --readout --yes
    """
    from qbench.errors import UsageError
    from qbench.model_names import with_engine
    from qbench.protocols import load_protocol
    from qbench.records.store import first_error
    from qbench_hardware.costs import dry_run_of, estimate
    from qbench_hardware.plan import FILE, HardwarePlan, plugins_of
    from qbench_hardware.run import HardwareRun

    name = with_engine(model, engine, shots)
    if name.engine is None:
        raise UsageError(
            f"on which device? Give --engine, e.g. ibm:fake_marrakesh, or --model {name.model}@"
            "ibm:fake_marrakesh:4096"
        )
    given = {"dynamical_decoupling": dynamical_decoupling, "twirling": twirling}
    try:
        plan = HardwarePlan(
            model=name.model,
            engine=name.engine,
            shots=SHOTS if name.shots is None else name.shots,
            eps=eps or (load_protocol(protocol, plugins).ranking_eps,),
            protocol=protocol,
            options={name: value for name, value in given.items() if value is not None},
            plugins=plugins_of(plugins),
            **asked,
        )
    except ValueError as error:
        raise UsageError(f"--{first_error(error)}") from None
    root = out or plan.folder
    begun = os.path.lexists(root / FILE)
    kept = HardwarePlan.load(root) if begun else plan
    selected = HardwareRun(kept if kept.same_as(plan) else plan, root, plugins)
    ignored = sorted(set(plan.options) - set(selected.options))
    if ignored:
        click.echo(f"{plan.engine} is simulated: {', '.join(ignored)} has no effect", err=True)
    if dry_run or not begun:
        cost = estimate(selected)
        if dry_run:
            print_estimate(selected, cost, as_json, dry_run_of(selected, cost))
            return
        _confirm(cost.seconds, max_qpu_seconds, yes)
    _go_on(selected, as_json, detach=detach, command=typed())


@hardware.command()
@folder_argument
@plugin_option
@json_option
def status(folder: Path, plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """Say which jobs of a run are queued, running, done, failed or collected.

    \b
    Example:
      qbench hardware status runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
    """
    from qbench_hardware.ledger import Ledger
    from qbench_hardware.plan import HardwarePlan
    from qbench_hardware.run import check_account
    from qbench_hardware.submitter import JobSubmitter

    plan = HardwarePlan.load(folder)
    engine = plan.connect(plan.registry(plugins))
    ledger = Ledger(folder / "hardware" / "ledger.jsonl")
    check_account(plan, ledger, engine)
    submitter = JobSubmitter(engine, ledger, folder, plan.run_id, resumed=True)
    rows = [
        {
            "job": entry.name,
            "circuits": entry.circuits,
            "shots": entry.shots,
            "state": submitter.state(entry).state if entry.status == "submitted" else entry.status,
            "id": entry.job_id,
            "intended": entry.at.isoformat(),
            "estimated QPU s": round(entry.seconds, 1),
            "charged QPU s": entry.used_s,
            "reason": entry.reason if entry.status == "failed" else None,
        }
        for entry in ledger.entries.values()
    ]
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "jobs": rows}, indent=1))
    else:
        click.echo(table(rows) if rows else "no job was handed in yet")


@hardware.command()
@folder_argument
@plugin_option
@json_option
def collect(folder: Path, plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """Fetch the counts of every job that is done; the results when none is missing.

    Submits nothing and does not wait.

    \b
    Example:
      qbench hardware collect runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
    """
    _go_on(_open(folder, plugins), as_json, submit=False, detach=True)


@hardware.command()
@folder_argument
@retry_option
@detach_option
@plugin_option
@json_option
def resume(
    folder: Path, retry_failed: bool, detach: bool, plugins: tuple[PluginFile, ...], as_json: bool
) -> None:
    """Go on with a run that was interrupted: hand in what is missing, wait, give the results.

    A job that the service may have taken without its id being noted is looked up first.

    \b
    Examples:
      qbench hardware resume runs/hardware-ibm-ibm_torino-reup-0.2-seed0-1a2b3c4d
      qbench hardware resume --retry-failed runs/hardware-ibm-1a2b3c4d
    """
    _go_on(_open(folder, plugins), as_json, retry_failed=retry_failed, detach=detach)


def _open(folder: Path, plugins: tuple[PluginFile, ...]) -> HardwareRun:
    from qbench_hardware.plan import HardwarePlan
    from qbench_hardware.run import HardwareRun

    return HardwareRun(HardwarePlan.load(folder), folder, plugins)


def _go_on(
    selected: HardwareRun,
    as_json: bool,
    *,
    submit: bool = True,
    retry_failed: bool = False,
    detach: bool = False,
    command: str | None = None,
) -> None:
    from qbench_hardware.workflow import resume

    def said(line: str) -> None:
        click.echo(line, err=True)

    root = selected.root
    try:
        with selected.begun():
            if command is not None:
                selected.store.note_command(command)
            report = resume(
                selected, said, submit=submit, retry_failed=retry_failed, wait=not detach
            )
    except KeyboardInterrupt:
        said(f"interrupted: nothing is lost, 'qbench hardware resume {root}' goes on")
        raise
    if as_json:
        told = {"folder": str(root), "done": report is not None, **(report or {})}
        click.echo(json.dumps(told, indent=1 if report else None, ensure_ascii=False))
    elif report is None:
        click.echo(f"not all jobs are done: 'qbench hardware collect {root}' looks again")
    else:
        click.echo(f"{table(report['rows'])}\n\n{summary(report)}\nresults: {root}")


def _confirm(seconds: float, limit: float, yes: bool) -> None:
    from qbench.errors import UsageError

    if seconds <= limit or yes:
        return
    question = f"this takes about {seconds:.0f} QPU seconds, more than {limit:.0f}"
    if not sys.stdin.isatty():
        raise UsageError(f"{question}: give --yes or a larger --max-qpu-seconds to go on")
    click.confirm(f"{question}; go on?", abort=True, err=True)
