"""`qbench check`: what must hold of a plugin's objects, and of a model before it is attacked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from qbench.cli.options import (
    Listed,
    dataset_option,
    plugin_option,
    time_limit_option,
    weights_option,
)
from qbench.errors import QbenchError, UsageError
from qbench.text import one_line, wrapped

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.plugin_files import PluginFile
    from qbench.records.record import Record
    from qbench.records.results import Result
    from qbench.testing import Target
    from qbench.weights.given import WeightsFile


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--seeds",
    type=Listed(int, "seeds"),
    default="0",
    show_default=True,
    help="Trainings of a model; those that no zoo holds are trained first.",
)
@dataset_option
@time_limit_option
@weights_option
@plugin_option
def check(
    name: str,
    seeds: tuple[int, ...],
    dataset: str | None,
    time_limit: float,
    weights: tuple[WeightsFile, ...],
    plugins: tuple[PluginFile, ...],
) -> None:
    """Check a model, an attack, a certifier, a data set or an engine, or all of a plugin FILE.

    Each line is one thing that must hold. Attacks and certifiers are tried on small reference
    models whose robustness is known, and certifiers on a trained model of each structure too;
    engines against the reference engine. If anything fails, the exit code is 1.

    A model is also checked as a run does before it attacks it: what does not hold is a warning, or
    it keeps the model out of the ranking, and then the exit code is 1 too.

    \b
    Examples:
      qbench check reup
      qbench check reup@pennylane                  a model on an engine
      qbench check my_plugin.py                    everything in a file
      qbench check my-model --plugin my_plugin.py  one thing of it
      qbench check pgd:steps=10                    an attack with parameters
      qbench check aer:marrakesh                   an engine on a device
    """
    from qbench.testing import targets

    good, found = True, targets(name, plugins, dataset)
    for file in weights:
        if file.model not in {target.name for target in found if target.kind == "model"}:
            raise UsageError(f"--weights {file.model}={file.path}: no such model is checked")
    for target in found:
        click.echo(str(target))
        try:
            if target.kind == "model":
                own = tuple(file for file in weights if file.model == target.name)
                records, trained = _run(target, seeds, time_limit, own)
                good &= _conforms(target, trained, time_limit)
                good &= _unflagged(target, records)
            else:
                good &= _conforms(target, None, time_limit)
        except QbenchError as error:  # of one object of a file, which is not to hide the others
            click.echo(wrapped(f"FAIL  {one_line(str(error))}"))
            good = False
    sys.exit(0 if good else 1)


def _conforms(target: Target, weights: Mapping[str, Tensor] | None, time_limit: float) -> bool:
    """Print the outcome of each check; whether all passed."""
    from qbench.testing import checks_of, outcomes

    checks = checks_of(target, weights)
    passed = failed = 0
    for outcome in outcomes(checks, time_limit):
        word = "PASS" if outcome.passed else "FAIL"
        detail = f": {outcome.detail}" if outcome.detail else ""
        click.echo(wrapped(f"{word}  {outcome.check.name}{detail}"))
        passed, failed = passed + outcome.passed, failed + (not outcome.passed)
    left_out = len(checks) - passed - failed
    click.echo(
        f"{passed} passed, {failed} failed"
        + (f", {left_out} left out, which need the one that failed" if left_out else "")
    )
    return not failed


def _run(
    target: Target,
    seeds: tuple[int, ...],
    time_limit: float,
    weights: tuple[WeightsFile, ...],
) -> tuple[list[Record], Mapping[str, Tensor] | None]:
    """What a run measures of a model before it attacks it, and its first trained weights."""
    from qbench.evaluation.planner import make_plan
    from qbench.evaluation.selection import RunSelection
    from qbench.evaluation.task import run_task
    from qbench.weights.files import unpack

    selection = RunSelection(
        models=(target.text,),
        certifiers=(),
        seeds=seeds,
        dataset=target.dataset,
        time_limit_s=time_limit,
        weights=weights,
        plugins=target.plugins,
    )
    done: dict[str, Result] = {}
    records: list[Record] = []
    trained: Mapping[str, Tensor] | None = None
    for task in make_plan(selection):
        if task.identity.kind in ("training", "checks", "fresh"):
            if sys.stderr.isatty():
                click.echo(f"\r\x1b[K{one_line(task.title)} ...", err=True, nl=False)
            result = run_task(task, {need: done[need] for need in task.needs})
            done[task.identity.id] = result
            records.append(result.record)
            if trained is None and result.artifact is not None:
                trained = unpack(result.artifact, "the trained weights")[0].weights
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    return records, trained


def _unflagged(target: Target, records: list[Record]) -> bool:
    """Print what was measured and the flags that it raises; whether none keeps it from a rank."""
    from qbench.model_names import ModelName
    from qbench.registry import load_registry
    from qbench.report import MEANINGS, flags

    for record in records:
        for line in _measured(record):
            click.echo(wrapped(line))
    spec = load_registry(target.plugins).get("model", target.name).spec
    sampled = ModelName.parse(target.text).shots is not None
    raised = flags(target.name, records, stochastic=spec.stochastic or sampled, reference=None)
    for flag in raised:
        means = MEANINGS[flag.name]
        kind = "keeps it out of the ranking" if flag.blocking else "warning"
        click.echo(wrapped(f"⚑ {flag.name} ({kind}): {means.sign} {means.remedy}"))
    failed = [record for record in records if record.status == "failed"]
    if not raised and not failed:
        click.echo("no flag is raised")
    return not failed and not any(flag.blocking for flag in raised)


def _measured(record: Record) -> list[str]:
    """What a record says, a line each."""
    from qbench.records.record import ChecksMetrics, FreshMetrics

    seed = record.task.model.seed
    if record.status != "done":
        return [f"seed {seed}: {record.task.kind} {record.status}: {one_line(str(record.reason))}"]
    if isinstance(record.metrics, ChecksMetrics):
        words = record.metrics.values.items()
        found = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in words if value)
        shares = f"wrong shares above 0: {found}" if found else "nothing wrong"
        return [f"seed {seed}: {len(words)} checks on {record.metrics.images} images: {shares}"]
    if isinstance(record.metrics, FreshMetrics):
        m = record.metrics
        return [
            f"seed {seed}: test images {m.frozen_clean_accuracy:.3f} clean, "
            f"{m.frozen_robust_accuracy:.3f} attacked; new images {m.clean_accuracy:.3f} and "
            f"{m.robust_accuracy:.3f}"
        ]
    return []
