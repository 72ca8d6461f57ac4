"""Samples of a data set, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from qbench.report.figures.style import INK, WIDTH, hide, new_figure, styled
from qbench.report.text import short

_ROWS = 50  # of a table that are drawn of a class, at most
_NAMED = 30  # features whose names find a place below a panel, at most
_LINE = "#332288"


@styled
def image_sheet(
    images: NDArray[Any], labels: NDArray[Any], classes: Sequence[str], each: int = 8
) -> Figure:
    """The first samples of every class, one row a class.

    Args:
        images: (n, height, width) in [0, 1].
        labels: (n,) class of each image.
        classes: Names of the classes by label.
        each: Samples shown of a class, where there are so many.
    """
    present = np.unique(labels)
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    figure = new_figure(0.62 * each + 0.4, 0.62 * len(present), layout)
    grid = figure.subplots(len(present), each, squeeze=False)
    for row, label in zip(grid, present, strict=True):
        chosen = images[labels == label][:each]
        for axes in row:
            hide(axes)
        for axes, image in zip(row, chosen, strict=False):
            axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        row[0].set_ylabel(classes[label], rotation=0, ha="right", va="center")
        row[0].yaxis.label.set_fontsize(13)
    return figure


@styled
def table_sheet(
    x: NDArray[Any], labels: NDArray[Any], classes: Sequence[str], names: Sequence[str]
) -> Figure:
    """The first rows of every class as lines over the features, one panel a class.

    Args:
        x: (n, features) in [0, 1].
        labels: (n,) class of each row.
        classes: Names of the classes by label.
        names: Of the features.
    """
    present = np.unique(labels)
    across = min(len(present), 3)
    down = math.ceil(len(present) / across)
    words = 0.09 * max(len(short(name)) for name in names) if len(names) <= _NAMED else 0.2
    figure = new_figure(WIDTH, 1.5 * down + words)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, label in zip(grid.flat, present, strict=False):
        _lines(axes, x[labels == label][:_ROWS])
        axes.set_title(short(classes[label]))
    for axes in list(grid.flat)[len(present) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        if len(names) <= _NAMED:
            axes.set_xticks(range(len(names)), [short(name) for name in names], rotation=90)
        else:
            axes.set_xlabel("feature")
    for axes in grid[:, 0]:
        axes.set_ylabel("scaled to [0, 1]")
    grid[0, 0].set(xlim=(-0.2, len(names) - 0.8), ylim=(-0.02, 1.02))
    return figure


def _lines(axes: Axes, rows: NDArray[Any]) -> None:
    """Rows, and their mean."""
    axes.plot(rows.T, color=_LINE, linewidth=0.7, alpha=0.35, marker="o", markersize=1.5)
    axes.plot(rows.mean(0), color=INK, linewidth=1.8)
