"""`qbench train`: weights by the protocol's recipe."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import (
    Listed,
    jobs_option,
    plugin_option,
    weights_option,
)

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.weights.given import WeightsFile


@click.command()
@click.option(
    "--models",
    type=Listed(str, "names"),
    required=True,
    help="Models: names, globs such as 'reup*', or all; separated by commas.",
)
@click.option(
    "--seeds", type=Listed(int, "seeds"), default="0,1,2,3,4", show_default=True, help="Seeds."
)
@click.option("--dataset", default="glyphs", show_default=True, help="What to train on.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/zoo"),
    show_default=True,
    help="Folder of the weights and their manifest.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=math.inf,
    help="Seconds that one training may take.  [default: no limit]",
)
@weights_option
@jobs_option
@plugin_option
def train(
    models: tuple[str, ...],
    seeds: tuple[int, ...],
    dataset: str,
    out: Path,
    time_limit: float,
    weights: tuple[WeightsFile, ...],
    jobs: int,
    plugins: tuple[PluginFile, ...],
) -> None:
    """Train models by their recipe, the same weights for the same seed every time.

    An interrupted training goes on from its last epoch with the same command. Load the weights
    with qbench.load_model(NAME, seed=0, zoo=OUT).

    \b
    Examples:
      qbench train --models convnet
      qbench train --models 'reup*' --seeds 0
    """
    from qbench.cli.progress import progress
    from qbench.datasets.base import load_data
    from qbench.errors import UsageError
    from qbench.evaluation.choosing import Chooser
    from qbench.evaluation.executors import InProcess, open_executor
    from qbench.evaluation.zoo_training import TrainingJob, train_zoo
    from qbench.files import locked
    from qbench.registry import load_registry

    if any(seed < 0 for seed in seeds):
        raise UsageError(f"seeds must be at least 0, got {list(seeds)}")
    data, seeds = load_data(dataset, plugins), tuple(dict.fromkeys(seeds))
    chooser = Chooser(load_registry(plugins), data, plugins, weights, True, time_limit)
    chosen = chooser.choose(models, seeds, lambda line: click.echo(line, err=True))
    work = [
        TrainingJob(name, seed, dataset, out, plugins, model.given.get(seed), time_limit)
        for name, model in chosen.items()
        for seed in model.seeds
    ]
    epochs = {name: model.provided.spec.recipe.epochs for name, model in chosen.items()}
    jobs = min(jobs, len(work))
    total = sum(epochs[job.model] for job in work)
    shown: dict[TrainingJob, int] = {}
    with (
        locked(out),
        progress("training", total) as advance,
        open_executor("local", jobs) if jobs > 1 else nullcontext(InProcess()) as executor,
    ):

        def show(job: TrainingJob, state: object) -> None:
            epoch = state.epoch  # type: ignore[attr-defined]
            label = f"{job.model} seed {job.seed}, epoch {epoch}"
            if state.test_accuracy:  # type: ignore[attr-defined]
                accuracy = state.test_accuracy[-1]  # type: ignore[attr-defined]
                label += f": test accuracy {accuracy:.3f}"
            advance(epoch - shown.get(job, 0), label)
            shown[job] = epoch

        train_zoo(work, executor, on_epoch=show if jobs == 1 else None, on_done=show)
    click.echo(f"{len(work)} sets of weights in {out}")
