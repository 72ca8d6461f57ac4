"""Options that several commands share."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.weights.given import WeightsFile


# Of every command, also of one that a plugin brings and that is called by itself.
HELP = {"help_option_names": ["-h", "--help"]}


class Listed(click.ParamType[tuple[Any, ...]]):
    """Comma-separated values of one type."""

    def __init__(self, item: type, name: str) -> None:
        self.item, self.name = item, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            items = tuple(self.item(part) for part in parts)
        except ValueError:
            self.fail(
                f"{value!r} is not a list of {self.name}, such as {self._example()}", param, ctx
            )
        if not items:
            self.fail(f"an empty list of {self.name}", param, ctx)
        if any(isinstance(item, float) and not math.isfinite(item) for item in items):
            self.fail(f"{value!r} holds a value that is not a finite number", param, ctx)
        return items

    def _example(self) -> str:
        return {float: "0.05,0.1", int: "0,1,2"}.get(self.item, "a,b")


def default_jobs() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plugin_files(paths: tuple[Path, ...]) -> tuple[PluginFile, ...]:
    from qbench.plugin_files import PluginFile

    return tuple(PluginFile.read(path) for path in paths)


def _weights_files(texts: tuple[str, ...]) -> tuple[WeightsFile, ...]:
    from qbench.weights.given import WeightsFile

    return tuple(WeightsFile.parse(text) for text in texts)


models_option = click.option(
    "--models",
    type=Listed(str, "names"),
    default="all",
    show_default=True,
    help="Models: names, globs such as 'reup*', or all; separated by commas. A name may say where "
    "its circuits run, MODEL@ENGINE[:DEVICE][:SHOTS], as reup-hw4@aer:marrakesh:4096.",
)
protocol_option = click.option(
    "--protocol",
    default="glyphs-linf-v1",
    show_default=True,
    help="What is measured ('qbench protocols' lists them).",
)
dataset_option = click.option(
    "--dataset",
    help="Another data set than the protocol's ('qbench datasets'): models are trained on it.",
)
seeds_option = click.option(
    "--seeds", type=Listed(int, "seeds"), help="Seeds of the models.  [default: the protocol's]"
)
eps_option = click.option(
    "--eps",
    type=Listed(float, "numbers"),
    help="Budgets ε in pixel units.  [default: the protocol's]",
)
engine_option = click.option(
    "--engine",
    metavar="NAME[:DEVICE]",
    help="Where the circuits of all quantum models run ('qbench engines'); the same as @NAME after "
    "each.  [default: each model's own]",
)
shots_option = click.option(
    "--shots",
    type=int,
    help="How often each circuit of all quantum models is run; exact probabilities when left out.",
)
craft_on_option = click.option(
    "--craft-on",
    "attacked",
    type=click.Choice(["engine", "ideal"]),
    help="What attacks see: the engine, or the ideal (noiseless) simulator of the same circuit.  "
    "[default: the engine; the ideal one for gradients that the engine does not give]",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N images of the protocol."
)
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the results; models that it holds stay on the page.  "
    "[default: runs/PROTOCOL, which git ignores]",
)
archive_option = click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Results that are there already, e.g. leaderboard/results: only what they lack is done.",
)
time_limit_option = click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds that one task (a training, an attack, a certifier on one model) may take; then "
    "it has failed.",
)
retrain_option = click.option(
    "--retrain", is_flag=True, help="Train the models afresh instead of taking the zoo's weights."
)
weights_option = click.option(
    "--weights",
    multiple=True,
    metavar="MODEL[:SEED]=FILE",
    callback=lambda _ctx, _param, texts: _weights_files(texts),
    help="Weights that were trained elsewhere: safetensors, or a state dict saved by torch. The "
    "model is not trained then. Seed 0 unless one is given (repeatable).",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print the plan and its cost, and do nothing."
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    callback=lambda _ctx, _param, paths: _plugin_files(paths),
    help="Also load this Python file as a plugin (repeatable).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
executor_option = click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="local|dask|tcp://HOST:PORT",
    help="Where tasks run: here, on a Dask cluster made here, or on a Dask scheduler's workers.",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=default_jobs,
    show_default="one a core",
    help="How many processes compute; results do not depend on it.",
)
