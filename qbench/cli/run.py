"""`qbench run`: from a selection to a leaderboard."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qbench.cli.options import Listed, executor_option, jobs_option, json_option, plugin_option

if TYPE_CHECKING:
    from qbench.plan import RunSelection
    from qbench.records import Record
    from qbench.registry import PluginFile
    from qbench.store import Store
    from qbench.tasks import Task


@click.command()
@click.option(
    "--models",
    type=Listed(str, "names"),
    default="all",
    show_default=True,
    help="Models: names, globs such as 'reup*', or all; separated by commas.",
)
@click.option(
    "--attacks",
    type=Listed(str, "names"),
    default="pgd",
    show_default=True,
    help="Attacks: names, globs, all, or NAME:PARAMETER=VALUE:...; separated by commas.",
)
@click.option(
    "--protocol",
    default="glyphs-linf-v1",
    show_default=True,
    help="What is measured ('qbench protocols' lists them).",
)
@click.option(
    "--seeds", type=Listed(int, "seeds"), help="Seeds of the models.  [default: the protocol's]"
)
@click.option(
    "--eps",
    type=Listed(float, "numbers"),
    help="Budgets ε in pixel units.  [default: the protocol's]",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N images of the protocol."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the results.  [default: runs/PROTOCOL, which git ignores]",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds that one attack on one model may take; then it has failed.",
)
@click.option(
    "--retrain", is_flag=True, help="Train the models afresh instead of taking the zoo's weights."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and its cost, and do nothing.")
@executor_option
@jobs_option
@plugin_option
@json_option
def run(
    models: tuple[str, ...],
    attacks: tuple[str, ...],
    protocol: str,
    seeds: tuple[int, ...] | None,
    eps: tuple[float, ...] | None,
    limit: int | None,
    out: Path | None,
    time_limit: float,
    retrain: bool,
    dry_run: bool,
    executor: str,
    jobs: int,
    plugins: tuple[PluginFile, ...],
    as_json: bool,
) -> None:
    """Attack models and write a leaderboard.

    Every model and seed is attacked at every budget, its adversarial images are tried on every
    other model, and its Lipschitz bound is computed. Results are kept in the output folder: a run
    that is interrupted or killed goes on where it was, with the same command.

    \b
    Examples:
      qbench run --models all --attacks pgd
      qbench run --models 'reup*,convnet' --seeds 0 --limit 20
      qbench run --models all --attacks pgd,fgsm --eps 0.1 --dry-run
      qbench run --models reup --attacks pgd,pgd:steps=200:restarts=5
      qbench run --protocol wendlinger2024
      qbench run --executor tcp://scheduler:8786    on the workers of a Dask scheduler
    """
    from qbench.plan import RunSelection, make_plan
    from qbench.store import Store

    selection = RunSelection(
        models=models,
        attacks=attacks,
        protocol=protocol,
        seeds=seeds,
        eps=eps,
        limit=limit,
        time_limit_s=time_limit,
        retrain=retrain,
        plugins=plugins,
    )
    store = Store(out or Path("runs") / _folder(selection))
    tasks = make_plan(selection)
    if dry_run:
        _print_plan(tasks, store, as_json)
        return
    records = _run(tasks, store, executor, jobs)
    _report(records, store, as_json)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        what = f"{record.task} of {record.target.model} seed {record.target.seed}"
        click.echo(f"failed: {what}: {record.reason}", err=True)
    sys.exit(1 if failed else 0)


def _folder(selection: RunSelection) -> str:
    limit = f"-first{selection.limit}" if selection.limit else ""
    return f"{selection.protocol}{limit}{'-retrained' if selection.retrain else ''}"


def _run(tasks: list[Task], store: Store, executor: str, jobs: int) -> list[Record]:
    from qbench.cli.progress import progress
    from qbench.executors import open_executor
    from qbench.graph import run_graph

    what = f"{jobs} at a time" if executor == "local" else f"on {executor}"
    click.echo(f"{len(tasks)} tasks, {what}, results in {store.root}", err=True)
    with store.locked(), progress("running", total=sum(map(_weight, tasks))) as advance:
        try:
            with open_executor(executor, jobs) as pool:
                return run_graph(
                    tasks,
                    store,
                    pool,
                    width=_width(executor, jobs),
                    on_done=lambda task, _record: advance(_weight(task), task.title),
                )
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            raise


def _width(executor: str, jobs: int) -> int:
    """Tasks handed out at a time: enough to keep workers busy, few enough to hold in memory."""
    if executor == "local":
        return 1 if jobs == 1 else 2 * jobs
    return 64


def _weight(task: Task) -> float:
    """How long a task takes, roughly, in passes of one image: only the progress bar sees it."""
    from qbench.plan import passes
    from qbench.registry import load_registry

    forward, gradient = passes(task)
    quantum = load_registry(task.plugins).get("model", task.model).spec.family == "quantum"
    return 100 + (forward + 2 * gradient) * (1 if quantum else 0.05)


def _print_plan(tasks: list[Task], store: Store, as_json: bool) -> None:
    from qbench.plan import passes

    done = {
        task.key
        for task in tasks
        if (record := store.find(task.model, task.key)) and record.status == "done"
    }
    rows = []
    for kind, count in Counter(task.kind for task in tasks).items():
        group = [task for task in tasks if task.kind == kind and task.key not in done]
        costs = [passes(task) for task in group]
        rows.append(
            {
                "task": kind,
                "tasks": count,
                "done": count - len(group),
                "to do": len(group),
                "images forward": sum(forward for forward, _ in costs),
                "images differentiated": sum(gradient for _, gradient in costs),
            }
        )
    if as_json:
        click.echo(json.dumps({"out": str(store.root), "plan": rows}, indent=1))
        return
    from tabulate import tabulate

    click.echo(f"results would go to {store.root}\n")
    click.echo(tabulate(rows, headers="keys", intfmt=","))


def _report(records: list[Record], store: Store, as_json: bool) -> None:
    from qbench.reporting import build

    written = build(records, store.images, store.root / "leaderboard")
    if as_json:
        summary: dict[str, Any] = {
            "out": str(store.root),
            "records": dict(Counter(record.status for record in records)),
            "written": [str(path) for path in written],
            "leaderboard": json.loads(
                (store.root / "leaderboard" / "leaderboard.json").read_text()
            ),
        }
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    from qbench.reporting import summary_table

    click.echo(summary_table(records, store.images))
    click.echo(f"\nleaderboard and pictures: {store.root / 'leaderboard' / 'README.md'}")
