"""The tables of `docs/models.md` on tuning, and the choice they show, from `tuning_study.json`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from qbench.report.text import table

RANKED = 0.1  # the budget at which models are ranked, and so the one that chooses
LEAST_CLEAN = 0.9
NEAR = 0.01  # two of the 200 validation images
FINALISTS = 2  # recipes of a grid that are tried with more seeds


@dataclass(frozen=True)
class Point:
    """A recipe on the validation images, means over its seeds.

    Args:
        model: Which model was trained by it.
        seeds: How many trainings the means are over.
        learning_rate, regularisation: Step size and λ.
        clean: Share of images classified correctly.
        certified: By budget, the share of those that is proved as well.
        spread: Largest less smallest certified accuracy of a seed, at the budget that chooses.
    """

    model: str
    seeds: int
    learning_rate: float
    regularisation: float
    clean: float
    certified: Mapping[float, float]
    spread: float


def points(data: Mapping[str, Any], model: str, seeds: Collection[int]) -> list[Point]:
    """What was tried for a model with these seeds, every recipe that has them all, in order."""
    by_recipe: dict[tuple[float, float], list[Any]] = {}
    for row in data["rows"]:
        if row["model"] == model and row["seed"] in seeds:
            recipe = row["learning_rate"], row["regularisation"]
            by_recipe.setdefault(recipe, []).append(row)
    found = []
    for (rate, penalty), rows in by_recipe.items():
        if len(rows) < len(seeds):
            continue
        of = {eps: [row["certified"][i] for row in rows] for i, eps in enumerate(data["eps"])}
        found.append(
            Point(
                model=model,
                seeds=len(rows),
                learning_rate=rate,
                regularisation=penalty,
                clean=mean(row["clean"] for row in rows),
                certified={eps: mean(values) for eps, values in of.items()},
                spread=max(of[RANKED]) - min(of[RANKED]),
            )
        )
    return found


def best(tried: Iterable[Point]) -> Point:
    """The recipe that the criterion prefers.

    Of the recipes with a clean accuracy of at least `LEAST_CLEAN`, those are looked at whose
    certified accuracy at `RANKED` is within `NEAR` of the largest; of these the one with the
    largest mean over all budgets is taken.

    Raises:
        ValueError: No recipe has the clean accuracy.
    """
    allowed = [point for point in tried if point.clean >= LEAST_CLEAN]
    if not allowed:
        raise ValueError(f"no recipe keeps a clean accuracy of {LEAST_CLEAN}: widen the grid")
    least = max(point.certified[RANKED] for point in allowed) - NEAR - 1e-9
    near = [point for point in allowed if point.certified[RANKED] >= least]
    return max(near, key=lambda point: mean(point.certified.values()))


def finalists(tried: Sequence[Point]) -> list[Point]:
    """The recipes that the criterion prefers, one after the other, best first.

    Raises:
        ValueError: As `best`.
    """
    rest, found = list(tried), []
    while len(found) < FINALISTS:
        found.append(best(rest))
        rest.remove(found[-1])
    return found


def decided(data: Mapping[str, Any], name: str) -> list[Point]:
    """The finalists of an entry with all seeds, the chosen one first."""
    grid = finalists(points(data, name, data["grid_seeds"]))
    kept = {(point.learning_rate, point.regularisation) for point in grid}
    tried = points(data, name, data["grid_seeds"] + data["final_seeds"])
    last = [point for point in tried if (point.learning_rate, point.regularisation) in kept]
    return finalists(last)


def page(text: str, data: Mapping[str, Any]) -> str:
    """The page with the block of each entry renewed.

    Raises:
        ValueError: A block is not there once.
    """
    for name, base in data["bases"].items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        content = grid(data, name, base)
        text, found = block.subn(lambda m, new=content: f"{m[1]}\n{new}\n\n{m[2]}", text)
        if found != 1:
            raise ValueError(f"the page has {found} blocks {name!r}, should be 1")
    return text


def grid(data: Mapping[str, Any], name: str, base: str) -> str:
    """Every recipe of an entry below the model it is compared with; the chosen one in bold."""
    tried = [point for model in (base, name) for point in points(data, model, data["grid_seeds"])]
    last = decided(data, name)
    lines = []
    for point in [*tried, *last]:
        cells = [
            point.model,
            str(point.seeds),
            f"{point.learning_rate:g}",
            f"{point.regularisation:g}",
            f"{point.clean:.3f}",
            *(f"{share:.3f}" for share in point.certified.values()),
            f"{point.spread:.3f}",
        ]
        lines.append([f"**{cell}**" for cell in cells] if point == last[0] else cells)
    head = ["Model", "Seeds", "Step size", "λ", "Clean", *(f"ε = {eps:g}" for eps in data["eps"])]
    head.append(f"Between seeds, ε = {RANKED:g}")
    return table(head, lines, ["left"] + ["right"] * (len(head) - 1))
