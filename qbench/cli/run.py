"""`qbench run`: from a selection to a leaderboard."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qbench.cli.options import (
    Listed,
    craft_on_option,
    dataset_option,
    dry_run_option,
    engine_option,
    eps_option,
    executor_option,
    jobs_option,
    json_option,
    limit_option,
    models_option,
    out_option,
    plugin_option,
    protocol_option,
    retrain_option,
    seeds_option,
    shots_option,
    time_limit_option,
)
from qbench.cli.tasks import exit_with, folder, print_plan, run_tasks

if TYPE_CHECKING:
    from qbench.records import Record
    from qbench.registry import PluginFile
    from qbench.store import Store


@click.command()
@models_option
@click.option(
    "--attacks",
    type=Listed(str, "names"),
    default="pgd",
    show_default=True,
    help="Attacks: names, globs, all, or NAME:PARAMETER=VALUE:...; separated by commas.",
)
@engine_option
@shots_option
@craft_on_option
@protocol_option
@dataset_option
@seeds_option
@eps_option
@limit_option
@out_option
@time_limit_option
@retrain_option
@dry_run_option
@executor_option
@jobs_option
@plugin_option
@json_option
def run(
    models: tuple[str, ...],
    attacks: tuple[str, ...],
    engine: str | None,
    shots: int | None,
    craft_on: str,
    protocol: str,
    dataset: str | None,
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
    other model, and what can be proved of it is computed ('qbench certify' does that alone).
    A certificate that an attack contradicts fails the run. Results are kept in the output
    folder: a run that is interrupted or killed goes on where it was, with the same command.

    \b
    Examples:
      qbench run --models all --attacks pgd
      qbench run --models 'reup*,convnet' --seeds 0 --limit 20
      qbench run --models all --attacks pgd,fgsm --eps 0.1 --dry-run
      qbench run --models reup --attacks pgd,pgd:steps=200:restarts=5
      qbench run --models 'reup*' --shots 1024
      qbench run --models reup-0.2 --engine aer:marrakesh --craft-on twin --seeds 0 --limit 20
      qbench run --protocol wendlinger2024
      qbench run --executor tcp://scheduler:8786    on the workers of a Dask scheduler
    """
    from qbench import soundness
    from qbench.plan import RunSelection, make_plan
    from qbench.store import Store

    selection = RunSelection(
        models=models,
        attacks=attacks,
        engine=engine,
        shots=shots,
        twin=craft_on == "twin",
        protocol=protocol,
        dataset=dataset,
        seeds=seeds,
        eps=eps,
        limit=limit,
        time_limit_s=time_limit,
        retrain=retrain,
        plugins=plugins,
    )
    store = Store(out or Path("runs") / folder(selection))
    tasks = make_plan(selection)
    if dry_run:
        print_plan(tasks, store, as_json)
        return
    records = run_tasks(tasks, store, executor, jobs)
    soundness.check(store.records(), store.images)
    _report(records, store, as_json)
    exit_with(records)


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
