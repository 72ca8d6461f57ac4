"""Pictures of the frequency picture: spectra along a pixel, and surrogates of circuits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from qbench.report.figures.style import INK, WIDTH, Look, new_figure, styled
from qbench_claims.patterns import EPS
from qbench_reproduction.looks import model_looks
from qbench_reproduction.portraits import BASE, COPIES, Frequencies
from qbench_reproduction.spectrum import EDGES
from qbench_reproduction.surrogate import Fit

_SHADE = 0.15
_SMALLEST = 1e-9  # unexplained variance that is drawn
_DASHED = (0, (3, 1.5))
_PER_DECADE = 1 / np.diff(np.log10(EDGES))
_SEEN = (3e-3, 5.0)  # radians: what is beyond counts in the outermost bins


@styled
def spectra(found: Frequencies) -> Figure:
    """Power and squared slope against |ω|, a column an epoch: means over seeds and ± deviations."""
    figure = new_figure(WIDTH, 4.3)
    grid = figure.subplots(2, len(found.epochs), sharex=True, sharey="row", squeeze=False)
    drawn, middle = model_looks(found.models), np.sqrt(EDGES[1:] * EDGES[:-1])
    letters = iter("abcdefgh")
    shown = (middle > _SEEN[0]) & (middle < _SEEN[1])
    for row, what in zip(grid, ("power", "slope"), strict=True):
        highest = 0.0
        for axes, epoch in zip(row, found.epochs, strict=True):
            for model in found.models:
                values = [getattr(one.spectrum, what) for one in found.of(model, epoch)]
                density = np.array(values)[:, shown] * _PER_DECADE[shown]
                highest = max(highest, float((density.mean(0) + density.std(0)).max()))
                _band(axes, middle[shown], density, drawn[model], model)
            axes.set_title(f"{next(letters)}  epoch {epoch}")
            axes.set_xscale("log")
            axes.set_xlim(*_SEEN)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_formatter("{x:g}")
        row[0].set_ylim(0, 1.15 * highest)
    grid[0][0].set_ylabel("power per decade of |ω|")
    grid[1][0].set_ylabel("squared slope per decade of |ω|")
    for axes in grid[-1]:
        axes.set_xlabel("frequency |ω| along a pixel (radians per unit)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), handlelength=3.2)
    return figure


def _band(
    axes: Axes,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    look: Look,
    label: str,
    hollow: bool = False,
    most: float | None = None,
) -> None:
    """A line of means over the rows of values, and ± one deviation of them up to `most`."""
    mean = values.mean(0)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        low = np.maximum(mean - spread, 0)
        high = mean + spread
        axes.fill_between(
            x,
            low,
            high if most is None else high.clip(max=most),
            color=look.colour,
            alpha=_SHADE,
            linewidth=0,
        )
    axes.plot(
        x,
        mean,
        color=look.colour,
        linestyle=_DASHED if hollow else look.line,
        marker=look.marker,
        markevery=2 if len(x) > 8 else 1,
        markerfacecolor="white" if hollow else look.colour,
        markeredgecolor=look.colour if hollow else "white",
        markeredgewidth=0.9 if hollow else 0.5,
        label=label,
    )


@styled
def surrogates(found: Frequencies) -> Figure:
    """Likeness of surrogates against their size, and accuracy of the circuits under attacks."""
    circuits, epoch = found.circuits, found.epochs[0]
    drawn = model_looks(found.models)
    figure = new_figure(WIDTH, 4.7)
    grid = figure.subplots(2, 3, sharex=True)
    likeness: list[tuple[str, str, Callable[[Fit], float]]] = [
        ("scores", "unexplained variance 1 − R²", lambda fit: max(1 - fit.r2, _SMALLEST)),
        ("classes", "share of equal classes", lambda fit: fit.agreement),
        ("gradients", "mean cosine", lambda fit: fit.gradient),
    ]
    for axes, letter, (title, label, take) in zip(grid[0], "abc", likeness, strict=True):
        for model in circuits:
            for copies in COPIES:
                sizes, values = series(found, model, copies, take)
                _band(axes, sizes, values, drawn[model], model, hollow=not copies, most=1.0)
        axes.set_title(f"{letter}  {title}")
        axes.set_ylabel(label)
    left = np.array([max(1 - fit.r2, _SMALLEST) for fit in found.fits])
    grid[0][0].set_ylim(left.min() / 2, 2 * left.max())
    grid[0][0].set_yscale("log")
    grid[0][0].yaxis.set_major_formatter("{x:g}")
    grid[0][1].set_ylim(min(fit.agreement for fit in found.fits) - 0.005, 1.005)
    grid[0][2].set_ylim(0, 1.02)
    for axes, letter, model in zip(grid[1], "def", circuits, strict=False):
        look = drawn[model]
        for copies in COPIES:
            sizes, values = series(found, model, copies, lambda fit: fit.accuracy)
            _band(axes, sizes, values, look, model, hollow=not copies, most=1.0)
        own = np.mean([one.white_box for one in found.of(model, epoch)])
        other = np.mean([one.transferred for one in found.of(model, epoch)])
        axes.axhline(own, color=INK, linewidth=1.1)
        axes.axhline(other, color=INK, linewidth=1.1, linestyle=":")
        axes.set_title(f"{letter}  {model} under attack")
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("number of frequencies D")
    lines = [
        Line2D([], [], color=INK, linewidth=1.1, linestyle=":", label=f"made for {BASE}"),
        Line2D([], [], color=INK, linewidth=1.1, label="made for the circuit"),
    ]
    grid[1][len(circuits) - 1].legend(handles=lines, loc="lower left")
    grid[1][0].set_ylabel(f"robust accuracy (ε = {EPS:g})")
    for axes in grid[1][len(circuits) :]:
        axes.remove()
    for axes in grid.flat:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    figure.legend(handles=_keys(found, drawn), loc="outside upper center", ncols=5)
    return figure


def _keys(found: Frequencies, drawn: dict[str, Look]) -> list[Line2D]:
    models = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=model)
        for model, look in drawn.items()
        if model in found.circuits
    ]
    return [
        *models,
        Line2D([], [], color=INK, marker="o", label="fitted to perturbed images too"),
        Line2D(
            [], [], color=INK, marker="o", mfc="white", ls=_DASHED, label="to clean images alone"
        ),
    ]


def series(
    found: Frequencies, model: str, copies: int, take: Callable[[Fit], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sizes (k,) of a circuit's surrogates, and a quantity of them (seeds, k)."""
    rows = [
        [(fit.size, take(fit)) for fit in one.fits if fit.copies == copies]
        for one in found.of(model, found.epochs[0])
    ]
    pairs = np.array(rows, dtype=float)
    return pairs[0, :, 0], pairs[:, :, 1]
