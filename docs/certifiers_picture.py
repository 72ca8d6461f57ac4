"""The picture of docs/certificates.md: what each certifier proves of one model of each kind."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qbench.records.results import Results
from qbench.report.figures.style import INK, WIDTH, new_figure, png, styled

SHOWN = ("reup-0.2", "reup-hw8", "reup-hw8-cert", "amplitude", "fourier", "convnet")
_COLOURS = ("#332288", "#CC6677", "#117733", "#AA4499", "#44AA99", "#999933")
_UP_TO = 0.2
_ROOM = 0.08  # for the legend, where nothing is asked any more


def picture(results: Results) -> bytes:
    """A PNG: certified accuracy in ℓ∞ against ε, a line a certifier, means over seeds."""
    return png(_draw(_radii(results)))


def _radii(results: Results) -> dict[str, dict[str, list[NDArray[np.float64]]]]:
    """Radii of every seed, by model and certifier."""
    found: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    for record in results.records:
        task = record.task
        exact = task.kind == "radii" and task.engine is None  # no counts of a noisy device
        if exact and record.status == "done" and task.norm == "linf":
            of = found.setdefault(task.model.name, defaultdict(list))
            of[task.certifier.name].append(results.columns(record)["radius"])
    return found


@styled
def _draw(radii: dict[str, dict[str, list[NDArray[np.float64]]]]) -> Figure:
    models = [name for name in SHOWN if name in radii]
    rows = -(-len(models) // 3)
    figure = new_figure(WIDTH, 2.0 * rows + 0.3)
    grid = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(models) :]:
        axes.remove()
    for axes, name in zip(grid.flat, models, strict=False):
        best = []
        for colour, (certifier, seeds) in zip(_COLOURS, sorted(radii[name].items()), strict=False):
            eps, share = _curve(seeds)
            if share.max() > 0:
                axes.step(eps, share, where="post", color=colour, linewidth=1.1, label=certifier)
                best.append(seeds)
        if len(best) > 1:
            whole = [np.maximum.reduce(seed) for seed in zip(*best, strict=True)]
            axes.step(
                *_curve(whole), where="post", color=INK, linewidth=0.8, linestyle=":", label="best"
            )
        axes.set_title(name)
        axes.set_xlim(0, _UP_TO + _ROOM)
        axes.set_xticks(np.linspace(0, _UP_TO, 5))
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper right", fontsize=6.0, handlelength=1.4)
    figure.supxlabel("perturbation budget ε (ℓ∞)", fontsize=8.0)
    figure.supylabel("certified accuracy", fontsize=8.0)
    return figure


def _curve(seeds: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    eps = np.unique(np.concatenate([[0.0, _UP_TO], *seeds]))
    eps = eps[eps <= _UP_TO]
    shares = [(radius[:, None] >= np.maximum(eps, 1e-12)).mean(0) for radius in seeds]
    return eps, np.mean(shares, 0)
