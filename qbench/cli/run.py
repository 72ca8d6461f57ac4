"""`qbench run`: from a selection to a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from qbench.cli.options import (
    Listed,
    archive_option,
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
    weights_option,
)
from qbench.cli.tasks import carry_out

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.specs import Norm
    from qbench.weights.given import WeightsFile


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
@click.option(
    "--norm",
    type=click.Choice(["linf", "l2"]),
    help="Norm of the perturbations, attacked and certified. Another one than the protocol's needs "
    "--eps, and has a leaderboard of its own.  [default: the protocol's]",
)
@protocol_option
@dataset_option
@seeds_option
@eps_option
@limit_option
@out_option
@archive_option
@click.option(
    "--no-certify",
    is_flag=True,
    help="Leave out the certificates of single images, which come last and take longest.",
)
@time_limit_option
@retrain_option
@weights_option
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
    attacked: Literal["engine", "ideal"] | None,
    norm: Norm | None,
    protocol: str,
    dataset: str | None,
    seeds: tuple[int, ...] | None,
    eps: tuple[float, ...] | None,
    limit: int | None,
    out: Path | None,
    archive: Path | None,
    no_certify: bool,
    time_limit: float,
    retrain: bool,
    weights: tuple[WeightsFile, ...],
    dry_run: bool,
    executor: str,
    jobs: int,
    plugins: tuple[PluginFile, ...],
    as_json: bool,
) -> None:
    """Attack models and write a leaderboard.

    Every model and seed is attacked at every budget, and its adversarial images are tried on every
    other model: that gives a first table. Then what can be proved of every image is computed
    ('qbench certify' does that alone), which gives each accuracy under attack a bound from below.
    A certificate that an attack contradicts fails the run. Results are kept in the output
    folder: a run that is interrupted or killed goes on where it was, with the same command, and
    another run in the same folder adds its models to the leaderboard.

    \b
    Examples:
      qbench run --models all --attacks pgd
      qbench run --models all --attacks pgd --no-certify
      qbench run --models 'reup*,convnet' --seeds 0 --limit 20
      qbench run --models all --attacks pgd,fgsm --eps 0.1 --dry-run
      qbench run --models convnet,reup --norm l2 --eps 0.5,1,2
      qbench run --models reup --attacks pgd,pgd:steps=200:restarts=5
      qbench run --models 'reup*' --shots 1024
      qbench run --models 'reup*' --engine pennylane
      qbench run --models reup-hw4,reup-hw4@pennylane,reup-hw4@aer:marrakesh:4096
      qbench run --protocol wendlinger2024
      qbench run --models mine --plugin mine.py --archive leaderboard/results
      qbench run --executor tcp://scheduler:8786    on Dask's workers
    """
    from qbench.evaluation.selection import RunSelection

    selection = RunSelection(
        models=models,
        attacks=attacks,
        engine=engine,
        shots=shots,
        attacked=attacked,
        norm=norm,
        protocol=protocol,
        dataset=dataset,
        seeds=seeds,
        eps=eps,
        limit=limit,
        norms=() if no_certify else None,
        time_limit_s=time_limit,
        retrain=retrain,
        weights=weights,
        plugins=plugins,
    )
    carry_out(
        selection,
        out=out,
        archive=archive,
        executor=executor,
        jobs=jobs,
        dry_run=dry_run,
        as_json=as_json,
    )
