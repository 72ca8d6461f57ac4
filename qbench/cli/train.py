"""`qbench train`: weights by the protocol's recipe."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbench.cli.options import Listed, jobs_option, plugin_option

if TYPE_CHECKING:
    from qbench.registry import PluginFile


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
@jobs_option
@plugin_option
def train(
    models: tuple[str, ...],
    seeds: tuple[int, ...],
    dataset: str,
    out: Path,
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
    from qbench.evaluation.executors import InProcess, open_executor
    from qbench.evaluation.zoo_training import TrainingJob, train_zoo
    from qbench.files import locked
    from qbench.registry import load_registry

    if any(seed < 0 for seed in seeds):
        raise UsageError(f"seeds must be at least 0, got {list(seeds)}")
    registry = load_registry(plugins)
    load_data(dataset, plugins)
    work = [
        TrainingJob(name, seed, dataset, out, plugins)
        for name in registry.select("model", models)
        for seed in dict.fromkeys(seeds)
    ]
    epochs = {
        name: registry.get("model", name).spec.recipe.epochs for name in {job.model for job in work}
    }
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
            accuracy = state.test_accuracy[-1]  # type: ignore[attr-defined]
            label = f"{job.model} seed {job.seed}, epoch {epoch}: test accuracy {accuracy:.3f}"
            advance(epoch - shown.get(job, 0), label)
            shown[job] = epoch

        train_zoo(work, executor, on_epoch=show if jobs == 1 else None, on_done=show)
    click.echo(f"{len(work)} sets of weights in {out}")
