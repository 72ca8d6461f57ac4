"""Chooses the hyperparameters of the entries that are no circuit or network of the paper's.

Run from the project's root: `python studies/tuning/entries_study.py`, with `--redraw` to compute
nothing. It writes `entries_study.json` and the table of `docs/models.md`; rows that are on file are
kept: delete the file to compute all of it, in about twenty minutes of one core. The training images
are divided as in `tuning_study.py`; no test image is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import torch
from grids import Grid, Row, choices, run

from qbench.datasets.base import Dataset
from qbench.evaluation.training import train_provided
from qbench.provided import Provided
from qbench.report.text import table
from qbench.specs import ModelSpec

RESULTS = Path(__file__).with_suffix(".json")
BLOCK = re.compile(r"(<!-- entries -->\n).*?(<!-- /entries -->)", re.DOTALL)
# What is tried of each: fields of the recipe, parameters of the factory. Usual values come first,
# those of scikit-learn where it has some: of equally accurate choices the first is taken.
GRIDS: Mapping[str, Grid] = {
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


def measured(provided: Provided[ModelSpec], seed: int, dataset: Dataset) -> dict[str, float]:
    """One training, and its accuracy on the validation images."""
    model, _ = train_provided(provided, dataset, seed)
    with torch.no_grad():
        found = model.eval()(dataset.test.x).argmax(1) == dataset.test.y
    return {"clean": found.double().mean().item()}


def accuracy(name: str, choice: Mapping[str, float], rows: list[Row]) -> float:
    """The mean over seeds."""
    return mean(r["clean"] for r in rows if (r["model"], r["choice"]) == (name, choice))


def chosen(name: str, rows: list[Row]) -> dict[str, float]:
    """The choice with the largest accuracy; of equal ones, the first."""
    return max(choices(GRIDS[name]), key=lambda choice: accuracy(name, choice, rows))


def page(text: str, rows: list[Row]) -> str:
    """The page with the table renewed."""
    lines = []
    for name, grid in GRIDS.items():
        best = chosen(name, rows)
        tried = [accuracy(name, choice, rows) for choice in choices(GRIDS[name])]
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


if __name__ == "__main__":
    run(__doc__.splitlines()[0], GRIDS, RESULTS, measured, page)
