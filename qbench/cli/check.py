"""`qbench check`: what must hold of a model before an attack on it says anything."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from qbench.cli.options import Listed, plugin_option, time_limit_option
from qbench.text import one_line

if TYPE_CHECKING:
    from qbench.records.record import Record
    from qbench.records.results import Result
    from qbench.registry import PluginFile


@click.command()
@click.argument("model")
@click.option(
    "--seeds",
    type=Listed(int, "seeds"),
    default="0",
    show_default=True,
    help="Trainings of the model; those that no zoo holds are trained first.",
)
@time_limit_option
@plugin_option
def check(
    model: str, seeds: tuple[int, ...], time_limit: float, plugins: tuple[PluginFile, ...]
) -> None:
    """Check MODEL as a run does before it attacks it.

    Scores and gradients must be numbers; an image's scores must be the same in every batch, on
    every call and in every mode; gradients must agree with finite differences of the scores, and
    may not vanish; and the model must do as well on new images as on the test images. What does
    not hold is a warning, or it keeps the model out of the ranking: then the exit code is 1.

    \b
    Examples:
      qbench check reup
      qbench check my-model --plugin my_model.py
    """
    from qbench.evaluation.planner import RunSelection, make_plan
    from qbench.evaluation.task import run_task
    from qbench.registry import load_registry
    from qbench.report import MEANINGS, flags
    from qbench.text import wrapped

    spec = load_registry(plugins).get("model", model).spec
    selection = RunSelection(
        models=(model,), certifiers=(), seeds=seeds, time_limit_s=time_limit, plugins=plugins
    )
    done: dict[str, Result] = {}
    records: list[Record] = []
    for task in make_plan(selection):
        if task.identity.kind in ("training", "checks", "fresh"):
            if sys.stderr.isatty():
                click.echo(f"\r\x1b[K{one_line(task.title)} ...", err=True, nl=False)
            result = run_task(task, {need: done[need] for need in task.needs})
            done[task.identity.id] = result
            records.append(result.record)
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    for record in records:
        for line in _measured(record):
            click.echo(line)
    raised = flags(model, records, stochastic=spec.stochastic, reference=None)
    for flag in raised:
        means = MEANINGS[flag.name]
        kind = "keeps it out of the ranking" if flag.blocking else "warning"
        click.echo(wrapped(f"⚑ {flag.name} ({kind}): {means.sign} {means.remedy}"))
    failed = [record for record in records if record.status == "failed"]
    if not raised and not failed:
        click.echo("no flag is raised")
    sys.exit(1 if failed or any(flag.blocking for flag in raised) else 0)


def _measured(record: Record) -> list[str]:
    """What a record says, a line each."""
    from qbench.records.record import ChecksMetrics, FreshMetrics

    seed = record.task.model.seed
    if record.status != "done":
        return [f"seed {seed}: {record.task.kind} {record.status}: {one_line(str(record.reason))}"]
    if isinstance(record.metrics, ChecksMetrics):
        words = record.metrics.values.items()
        found = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in words if value)
        return [
            f"seed {seed}: {len(words)} checks on {record.metrics.images} images, not 0: "
            f"{found or 'none'}"
        ]
    if isinstance(record.metrics, FreshMetrics):
        m = record.metrics
        return [
            f"seed {seed}: test images {m.frozen_clean_accuracy:.3f} clean, "
            f"{m.frozen_robust_accuracy:.3f} attacked; new images {m.clean_accuracy:.3f} and "
            f"{m.robust_accuracy:.3f}"
        ]
    return []
