"""The whole program: how the time of evaluations grows with their size."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from qbench import api
from qbench.benchmarks.report import Scaling
from qbench.benchmarks.timing import best_times
from qbench.datasets.base import Split

MODEL = "reup"
_SEEDS = 5  # of the model in the shipped zoo
_EPS = 0.1
_IMAGES, _STEPS = 128, 20  # what stays fixed while something else grows


def measure_scaling(
    factors: tuple[int, ...], spend_s: float, rounds: int, step: Callable[[str], None]
) -> tuple[Scaling, ...]:
    """Time `qbench.evaluate` with PGD while images, steps and trained models grow by `factors`."""
    data = api.load_dataset().train
    models = [api.load_model(MODEL, seed) for seed in range(_SEEDS)]
    images = tuple(32 * factor for factor in factors)
    steps = tuple(5 * factor for factor in factors)

    def attack(model: nn.Module, size: int, length: int) -> None:
        api.evaluate(model, "pgd", _EPS, data=_some(data, size), steps=length)

    def several(count: int) -> None:
        for seed in range(count):
            attack(api.load_model(MODEL, seed % _SEEDS), _IMAGES, _STEPS)

    series: tuple[tuple[str, str, tuple[int, ...], Callable[[int], None]], ...] = (
        ("images", f"{_STEPS} steps", images, lambda n: attack(models[0], n, _STEPS)),
        ("attack steps", f"{_IMAGES} images", steps, lambda n: attack(models[0], _IMAGES, n)),
        ("trained models", f"{_IMAGES} images, {_STEPS} steps, loading included", factors, several),
    )
    found = []
    for what, fixed, sizes, run in series:
        step(f"whole program: {what}")
        best = best_times({n: (lambda n=n, run=run: run(n)) for n in sizes}, spend_s, rounds)  # type: ignore[misc]
        found.append(Scaling(what, fixed, sizes, tuple(best[n].seconds for n in sizes)))
    return tuple(found)


def _some(data: Split, count: int) -> Split:
    """That many images, from the start again when there are not enough."""
    places = [i % len(data.x) for i in range(count)]
    return Split(data.x[places], data.y[places])
