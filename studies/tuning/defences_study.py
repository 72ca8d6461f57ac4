"""Chooses the hyperparameters of the entries with a defence, on training images alone.

Run from the project's root: `python studies/tuning/defences_study.py`, with `--redraw` to compute
nothing. It writes `defences_study.json` and the table of `docs/models.md`; rows that are on file
are kept: delete the file to compute all of it, in about twenty minutes of one core. The training
images are divided as in `tuning_study.py`; no test image is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from grids import Grid, Row, choices, run

from qbench.datasets.base import Dataset
from qbench.evaluation.crafting import craft
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import score
from qbench.evaluation.task import STOCHASTIC
from qbench.evaluation.training import train_provided
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.report.text import table
from qbench.specs import ModelSpec, ThreatModel

RESULTS = Path(__file__).with_suffix(".json")
BLOCK = re.compile(r"(<!-- defences -->\n).*?(<!-- /defences -->)", re.DOTALL)
EPS = 0.1  # the budget at which models are ranked
# What is tried of each: fields of the recipe, parameters of the factory. Of equally robust choices
# the first is taken.
GRIDS: Mapping[str, Grid] = {
    "convnet-trades": {"trades": (3.0, 10.0), "adversarial_warmup": (0, 10)},
    "reup-trades": {"trades": (10.0, 50.0), "adversarial_warmup": (0, 10)},
    "convnet-gradreg": {"gradient_penalty": (1.0, 3.0, 10.0, 30.0)},
    "reup-gradreg": {"gradient_penalty": (0.3, 1.0, 3.0, 10.0)},
    "convnet-purified": {"code": (16, 32), "noise": (0.3, 0.5)},
    "reup-purified": {"code": (16, 32), "noise": (0.3, 0.5)},
    "amplitude-random": {"spread": (0.1, 0.2, 0.3)},
}


def measured(provided: Provided[ModelSpec], seed: int, dataset: Dataset) -> dict[str, float]:
    """One training, and its accuracy on the validation images, clean and under the board's PGD."""
    passes, repeats = STOCHASTIC if provided.spec.stochastic else (1, 1)
    model, _ = train_provided(provided, dataset, seed)
    x, y = dataset.test.x, dataset.test.y
    with isolated(seed):
        attack = load_registry().get("attack", "pgd").create()
        threat = ThreatModel(norm="linf", eps=EPS, input_shape=dataset.image_shape)
        x_adv = craft(attack, model, x, y, threat, seed, passes=passes).x_adv
        found = score(model, x, x_adv, y, repeats)
    return {"clean": found.clean_accuracy, "robust": found.robust_accuracy}


def accuracy(kind: str, name: str, choice: Mapping[str, float], rows: list[Row]) -> float:
    """`"clean"` or `"robust"` accuracy, the mean over seeds."""
    return mean(r[kind] for r in rows if (r["model"], r["choice"]) == (name, choice))


def chosen(name: str, rows: list[Row]) -> dict[str, float]:
    """The choice with the largest robust accuracy; of equal ones, the first."""
    return max(choices(GRIDS[name]), key=lambda choice: accuracy("robust", name, choice, rows))


def page(text: str, rows: list[Row]) -> str:
    """The page with the table renewed, the choices in bold."""
    lines = []
    for name in GRIDS:
        best = chosen(name, rows)
        for choice in choices(GRIDS[name]):
            cells = [
                name,
                ", ".join(f"{key} {value:g}" for key, value in choice.items()),
                *(f"{accuracy(kind, name, choice, rows):.3f}" for kind in ("clean", "robust")),
            ]
            lines.append([f"**{cell}**" for cell in cells] if choice == best else cells)
    titles = ["Model", "Tried", "Clean", f"PGD, ε = {EPS:g}"]
    content = table(titles, lines, ["left", "left", "right", "right"])
    return BLOCK.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], GRIDS, RESULTS, measured, page)
