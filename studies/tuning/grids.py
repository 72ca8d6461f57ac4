"""What studies share that try every choice of a grid for some entries: their rows, and the run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tuning_study import PAGE, SEEDS, divided

from qbench.datasets.base import Dataset, load_data
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.specs import ModelSpec, Recipe

Row = dict[str, Any]
Grid = Mapping[str, tuple[float, ...]]
# From an entry with a choice, seed and data to what is measured, by name.
Measure = Callable[[Provided[ModelSpec], int, Dataset], dict[str, float]]

_OF_RECIPE = {field.name for field in fields(Recipe)}


def choices(grid: Grid) -> list[dict[str, float]]:
    """Every choice, in the order of the grid."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def with_choice(spec: ModelSpec, choice: Mapping[str, float]) -> ModelSpec:
    """An entry as it is with a choice."""
    of_recipe = {key: value for key, value in choice.items() if key in _OF_RECIPE}
    others = {key: value for key, value in choice.items() if key not in _OF_RECIPE}
    return replace(spec, recipe=replace(spec.recipe, **of_recipe), params={**spec.params, **others})


def run(
    about: str,
    grids: Mapping[str, Grid],
    results: Path,
    measure: Measure,
    page: Callable[[str, list[Row]], str],
) -> None:
    """Compute unless told not to, then redraw the page.

    Args:
        about: What `--help` says.
        grids: What is tried, by entry.
        results: File of the rows.
        measure: One training and what it gives on the validation images.
        page: From the page's text and all rows to the page with its table renewed.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--redraw", action="store_true", help="draw from the results on file")
    torch.set_num_threads(1)
    rows: list[Row] = json.loads(results.read_text()) if results.exists() else []
    if not parser.parse_args().redraw:
        done: list[Row] = []
        for row in _computed(grids, rows, measure):
            done.append(row)
            _write(results, done + [other for other in rows if other not in done])
        rows = done
        _write(results, rows)
    PAGE.write_text(page(PAGE.read_text(), rows))


def _computed(grids: Mapping[str, Grid], rows: list[Row], measure: Measure) -> Iterator[Row]:
    """What is measured with each choice and seed; rows on file are passed on."""
    dataset = divided(load_data("glyphs"))
    known = {(row["model"], json.dumps(row["choice"]), row["seed"]): row for row in rows}
    for name, seed in product(grids, SEEDS):
        provided = load_registry().get("model", name)
        for choice in choices(grids[name]):
            row = known.get((name, json.dumps(choice), seed))
            if row is None:
                tried = replace(provided, spec=with_choice(provided.spec, choice))
                found = measure(tried, seed, dataset)
                row = {"model": name, "choice": choice, "seed": seed}
                row |= {key: round(value, 6) for key, value in found.items()}
                print(json.dumps(row), file=sys.stderr, flush=True)
            yield row


def _write(results: Path, rows: list[Row]) -> None:
    results.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
