"""Chooses step size and λ of the entries trained for certificates, on training images alone.

Run from the project's root: `python studies/tuning/tuning_study.py`, with `--redraw` to compute
nothing. It writes `tuning_study.json` and the tables of `docs/models.md`; rows that are on file are
kept, so that it goes on where it was interrupted: delete the file to compute all of it, in about
half an hour of one core. The training images are split once, by a fixed seed, into those that are
trained on and those that judge; no test image is read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tuning_report import finalists, page, points

from qbench.datasets.base import Dataset, Split, load_data
from qbench.errors import VerificationError
from qbench.evaluation.provenance import packages
from qbench.evaluation.radii import certify_images
from qbench.evaluation.scoring import predict
from qbench.evaluation.training import train
from qbench.protocols import load_protocol
from qbench.registry import load_registry
from qbench.specs import Perturbations, Recipe

Row = dict[str, Any]

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "models.md"
VALIDATION = 200  # of the 1000 training images
SPLIT_SEED = 20240416
SEEDS = (0, 1)  # of the whole grid
MORE_SEEDS = (2, 3, 4)  # of its finalists
EPS = (0.05, 0.1, 0.2)  # the budgets of the protocol
# What each entry is compared with, and nine recipes for each: step sizes, and λ.
BASES = {
    "reup-cert": "reup-ep100",
    "reup-hw8-cert": "reup-hw8",
    "convnet-cert": "convnet-ep100",
    "fourier-cert": "fourier-ep100",
}
RATES: Mapping[str, tuple[float, ...]] = {
    "reup-cert": (5e-4, 1e-3, 3e-3),
    "reup-hw8-cert": (5e-4, 1e-3, 3e-3),
    "convnet-cert": (3e-3, 1e-2, 3e-2),
    "fourier-cert": (1e-3, 3e-3, 1e-2),
}
PENALTIES: Mapping[str, tuple[float, ...]] = {
    "reup-cert": (1.5e-4, 4e-4, 8e-4),
    "reup-hw8-cert": (3e-3, 1e-2, 3e-2),
    "convnet-cert": (1e-5, 3e-5, 1e-4),
    "fourier-cert": (1e-6, 3e-6, 1e-5),
}


def divided(dataset: Dataset) -> Dataset:
    """The data set with the training images alone: its `test` split is the validation split."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    order = torch.randperm(len(dataset.train.y), generator=generator)
    kept, held = order[VALIDATION:], order[:VALIDATION]
    x, y = dataset.train.x, dataset.train.y
    return replace(dataset, train=Split(x[kept], y[kept]), test=Split(x[held], y[held]))


def certified(structure: str, model: nn.Module, images: Split) -> Tensor:
    """The largest budget of `EPS` proved for each image (n,), 0 for none, by any certifier.

    Args:
        structure: Of the model: its certifiers are run in ℓ∞, and the best radius counts.
        model: The trained model.
        images: What to certify.
    """
    asked = Perturbations(norm="linf", eps=EPS, box=load_protocol("glyphs-linf-v1").box)
    best = torch.zeros(len(images.y), dtype=torch.float64)
    for provided in load_registry().all("certifier").values():
        spec = provided.spec
        if structure in spec.structures and "linf" in spec.norms and spec.by_default:
            found, _ = certify_images(
                provided.create(), model, images.x, images.y, asked, torch.Generator()
            )
            best = torch.maximum(best, found.radius)
    return best


def measured(name: str, recipe: Recipe, seed: int, dataset: Dataset) -> Row:
    """One training, and what it is worth on the validation images.

    Returns:
        Clean accuracy, and certified accuracy at each budget of `EPS`. A training that diverges
        is worth nothing: zeros.
    """
    provided = load_registry().get("model", name)
    row = {
        "model": name,
        "learning_rate": recipe.learning_rate,
        "regularisation": recipe.regularisation,
        "seed": seed,
    }
    try:
        model, _ = train(provided.create, dataset, recipe, seed)
    except VerificationError:
        return {**row, "clean": 0.0, "certified": [0.0] * len(EPS)}
    images = dataset.test
    right = predict(model, images.x).argmax(1) == images.y
    radius = certified(provided.spec.structure, model, images)
    shares = [round(float((radius >= eps).double().mean()), 4) for eps in EPS]
    return {**row, "clean": round(float(right.double().mean()), 4), "certified": shares}


def recipes(name: str) -> Iterator[tuple[str, Recipe]]:
    """What is trained for an entry: the model it is compared with, and its own grid."""
    models = load_registry().all("model")
    yield BASES[name], models[BASES[name]].spec.recipe
    usual = models[name].spec.recipe
    for rate, penalty in product(RATES[name], PENALTIES[name]):
        yield name, replace(usual, learning_rate=rate, regularisation=penalty)


def key(model: str, recipe: Recipe, seed: int) -> tuple[Any, ...]:
    """What tells one row from another."""
    return model, recipe.learning_rate, recipe.regularisation, seed


def compute(known: list[Row]) -> Iterator[list[Row]]:
    """The rows of every entry, more and more of them: those known are not computed again.

    Args:
        known: Rows of an earlier call, of which those that are not asked for are left out.
    """
    dataset = divided(load_data("glyphs"))
    keys = ("model", "learning_rate", "regularisation", "seed")
    found = {tuple(row[name] for name in keys): row for row in known}
    asked = [(*one, seed) for name in BASES for one in recipes(name) for seed in SEEDS]
    for stage in range(2):
        for one in sorted(asked, key=lambda one: one[2]):  # seed by seed
            if key(*one) not in found:
                found[key(*one)] = measured(*one, dataset)
                print(json.dumps(found[key(*one)]), file=sys.stderr, flush=True)
                yield [found[key(*each)] for each in asked if key(*each) in found]
        if stage == 0:
            asked += list(last_recipes([found[key(*each)] for each in asked]))
    yield [found[key(*each)] for each in asked]


def last_recipes(rows: list[Row]) -> Iterator[tuple[str, Recipe, int]]:
    """What the finalists of each grid are trained with besides."""
    for name in BASES:
        for point in finalists(points({"rows": rows, "eps": EPS}, name, SEEDS)):
            for _, recipe in recipes(name):
                if (recipe.learning_rate, recipe.regularisation) == (
                    point.learning_rate,
                    point.regularisation,
                ):
                    yield from ((name, recipe, seed) for seed in MORE_SEEDS)


def written(rows: list[Row]) -> str:
    """The results as JSON, one row a line."""
    about = {
        "images": VALIDATION,
        "split_seed": SPLIT_SEED,
        "eps": EPS,
        "grid_seeds": SEEDS,
        "final_seeds": MORE_SEEDS,
        "bases": BASES,
        "versions": packages(),
    }
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{json.dumps(about)[:-1]}, "rows": [\n{lines}\n]}}\n'


def main() -> None:
    """Compute what is missing unless told not to, then redraw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redraw", action="store_true", help="draw from the results on file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.redraw:
        known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
        for rows in compute(known):
            RESULTS.write_text(written(rows))
    PAGE.write_text(page(PAGE.read_text(), json.loads(RESULTS.read_text())))
    print(f"wrote {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
