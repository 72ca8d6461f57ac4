"""Chooses the hyperparameters of the entries that are no circuit or network of the paper's.

Run from the project's root: `python studies/tuning/entries_study.py`, with `--redraw` to compute
nothing. It writes `entries_study.json` and the table of `docs/models.md`; rows that are on file are
kept: delete the file to compute all of it, in about twenty minutes of one core. The training images
are divided as in `tuning_study.py`; no test image is read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tuning_study import PAGE, SEEDS, divided

from qbench.datasets.base import load_data
from qbench.evaluation.training import train_provided
from qbench.registry import load_registry
from qbench.report.text import table
from qbench.specs import ModelSpec, Recipe

Row = dict[str, Any]

RESULTS = Path(__file__).with_suffix(".json")
BLOCK = re.compile(r"(<!-- entries -->\n).*?(<!-- /entries -->)", re.DOTALL)
_OF_RECIPE = {field.name for field in fields(Recipe)}
# What is tried of each: fields of the recipe, parameters of the factory. Usual values come first,
# those of scikit-learn where it has some: of equally accurate choices the first is taken.
GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "logistic": {"learning_rate": (1e-3, 1e-2), "weight_decay": (1e-3, 0.0, 1e-4, 1e-2)},
    "mlp": {"learning_rate": (1e-3, 1e-2), "weight_decay": (0.0, 1e-4, 1e-3)},
    "rbf-svm": {"width": (1.0, 0.5, 2.0), "cost": (1.0, 0.1, 10.0)},
    "random-forest": {"trees": (100, 30, 300)},
    "quantum-kernel": {
        "scale": (0.25, 0.5, 1.0),
        "width": (1.0, 0.5, 2.0),
        "cost": (1.0, 10.0, 100.0),
    },
    "qcnn": {"blocks": (1, 2, 4), "learning_rate": (3e-3, 1e-2, 3e-2)},
    "dressed": {"learning_rate": (1e-3, 3e-3, 1e-2)},
    "ttn": {"learning_rate": (3e-3, 1e-2, 3e-2)},
}


def choices(name: str) -> list[dict[str, float]]:
    """Every choice for an entry, in the order of its grid."""
    grid = GRIDS[name]
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def with_choice(spec: ModelSpec, choice: Mapping[str, float]) -> ModelSpec:
    """An entry as it is with a choice."""
    of_recipe = {key: value for key, value in choice.items() if key in _OF_RECIPE}
    others = {key: value for key, value in choice.items() if key not in _OF_RECIPE}
    return replace(spec, recipe=replace(spec.recipe, **of_recipe), params={**spec.params, **others})


def compute(rows: list[Row]) -> Iterator[Row]:
    """Accuracy on the validation images with each choice and seed; rows on file are passed on."""
    dataset = divided(load_data("glyphs"))
    known = {(row["model"], json.dumps(row["choice"]), row["seed"]): row for row in rows}
    for name, seed in product(GRIDS, SEEDS):
        for choice in choices(name):
            row = known.get((name, json.dumps(choice), seed))
            if row is None:
                provided = load_registry().get("model", name)
                provided = replace(provided, spec=with_choice(provided.spec, choice))
                model, _ = train_provided(provided, dataset, seed)
                with torch.no_grad():
                    found = model.eval()(dataset.test.x).argmax(1) == dataset.test.y
                row = {
                    "model": name,
                    "choice": choice,
                    "seed": seed,
                    "clean": round(found.double().mean().item(), 6),
                }
                print(json.dumps(row), file=sys.stderr, flush=True)
            yield row


def accuracy(name: str, choice: Mapping[str, float], rows: list[Row]) -> float:
    """The mean over seeds."""
    return mean(r["clean"] for r in rows if (r["model"], r["choice"]) == (name, choice))


def chosen(name: str, rows: list[Row]) -> dict[str, float]:
    """The choice with the largest accuracy; of equal ones, the first."""
    return max(choices(name), key=lambda choice: accuracy(name, choice, rows))


def page(text: str, rows: list[Row]) -> str:
    """The page with the table renewed."""
    lines = []
    for name, grid in GRIDS.items():
        best = chosen(name, rows)
        tried = [accuracy(name, choice, rows) for choice in choices(name)]
        lines.append(
            [
                name,
                "; ".join(f"{key} {', '.join(f'{v:g}' for v in of)}" for key, of in grid.items()),
                ", ".join(f"{value:g}" for value in best.values()),
                f"{accuracy(name, best, rows):.3f}",
                f"{min(tried):.3f}",
                f"{sum(value == max(tried) for value in tried)} of {len(tried)}",
            ]
        )
    titles = ["Model", "Tried", "Chosen", "Clean", "Worst", "As good as the best"]
    content = table(titles, lines, ["left", "left", "left", "right", "right", "right"])
    return BLOCK.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def main() -> None:
    """Compute unless told not to, then redraw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redraw", action="store_true", help="draw from the results on file")
    torch.set_num_threads(1)
    rows: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if not parser.parse_args().redraw:
        done: list[Row] = []
        for row in compute(rows):
            done.append(row)
            kept = done + [other for other in rows if other not in done]
            RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n")
        rows = done
        RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    PAGE.write_text(page(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()
