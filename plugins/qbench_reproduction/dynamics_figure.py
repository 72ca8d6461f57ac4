"""Curves against the epoch: what is shown of the training dynamics, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from qbench.report.figures.style import WIDTH, Look, new_figure, styled
from qbench_claims.patterns import EPS
from qbench_reproduction.looks import model_looks
from qbench_reproduction.snapshots import BASE, Dynamics


@dataclass(frozen=True)
class Shown:
    """A quantity as it is shown.

    Args:
        what: Its name in `Dynamics.values`.
        title, axis: Of its panel.
        words: In a sentence.
        digits: Behind the point, in the table.
        base: Whether the base model has it too.
    """

    what: str
    title: str
    axis: str
    words: str
    digits: int = 2
    base: bool = True


SHOWN = (
    Shown("clean", "clean images", "accuracy", "the accuracy on clean images"),
    Shown("robust", f"under attack (ε = {EPS:g})", "robust accuracy", "robust accuracy"),
    Shown("bound", "Lipschitz bound", "bound (ℓ2)", "the Lipschitz bound", digits=1),
    Shown(
        "high-frequencies",
        "noise of the patterns",
        "high-frequency share of energy",
        "the share of high frequencies",
    ),
    Shown(
        f"from {BASE}",
        f"transfer from {BASE}",
        "robust accuracy of the model",
        f"accuracy on images made for {BASE}",
        base=False,
    ),
    Shown(
        f"to {BASE}",
        f"transfer to {BASE}",
        f"robust accuracy of {BASE}",
        f"accuracy of {BASE} on images made for the model",
        base=False,
    ),
)


def having(found: Dynamics, shown: Shown) -> list[str]:
    """The models that have a quantity: transfer is from or to another one."""
    if shown.base:
        return list(found.models)
    return [model for model in found.models if model != BASE and BASE in found.models]


@styled
def curves(found: Dynamics) -> Figure:
    """Six panels against the epoch, a line a model: means over seeds, bands ± one deviation."""
    figure = new_figure(WIDTH, 4.9)
    grid = figure.subplots(2, 3, sharex=True)
    drawn = model_looks(found.models)
    for axes, letter, shown in zip(grid.flat, "abcdef", SHOWN, strict=True):
        for model in having(found, shown):
            _line(axes, found, shown.what, model, drawn[model])
        _axes(axes, found, shown, f"{letter}  {shown.title}")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        handlelength=3.2,
        columnspacing=1.4,
    )
    return figure


def _line(axes: Axes, found: Dynamics, what: str, model: str, look: Look) -> None:
    values = found.values(what, model)
    mean = values.mean(0)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        low, high = mean - spread, mean + spread
        if what == "bound":
            low = np.maximum(low, 0.5 * values.min(0))
        else:
            low, high = low.clip(0, 1), high.clip(0, 1)
        axes.fill_between(found.epochs, low, high, color=look.colour, alpha=0.13, linewidth=0)
    axes.plot(
        found.epochs,
        mean,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markeredgecolor="white",
        markeredgewidth=0.5,
        label=model,
    )


def _axes(axes: Axes, found: Dynamics, shown: Shown, title: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(shown.axis)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(found.epochs)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    if shown.what == "bound":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    elif shown.what == "high-frequencies":
        axes.set_ylim(0, None)
    else:
        axes.set_ylim(-0.02, 1.02)
