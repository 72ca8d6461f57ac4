"""The transfer matrix as a heat map."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qbench.reporting.board import Board, Transfer
from qbench.reporting.figures.style import FAINT, INK, WIDTH, new_figure, short, styled

_CELL = 0.5  # inches
_CHARACTER = 0.068  # inches, of a model's name


@styled
def transfer(board: Board, matrix: Transfer) -> Figure:
    """Accuracy of each target (column) on inputs made for each source (row), mean over seeds."""
    size = len(matrix.models)
    names = _CHARACTER * max(len(short(name)) for name in matrix.models)
    side = min(_CELL * size, WIDTH - names - 1.3)
    figure = new_figure(side + names + 1.3, side + 0.7 * names + 1.0)
    axes = figure.subplots()
    values = np.array(
        [[_mean(matrix, source, target) for target in matrix.models] for source in matrix.models]
    )
    colours = matplotlib.colormaps["Blues_r"].with_extremes(bad="white")
    drawn = axes.imshow(values, cmap=colours, vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(size, size):
        _cell(axes, row, column, float(values[row, column]), colours)
    _frame(axes, board, matrix)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("target's accuracy")
    return figure


def _mean(matrix: Transfer, source: str, target: str) -> float:
    mean = matrix.entries[source, target].mean
    return float("nan") if mean is None else mean


def _cell(axes: Axes, row: int, column: int, value: float, colours: Colormap) -> None:
    known = not np.isnan(value)
    size = axes.get_images()[0].get_size()[0]
    colour = _readable_on(colours(value)) if known else FAINT
    if not known:
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", ec="#d9d9d9", lw=0))
    axes.text(
        column,
        row,
        f"{value:.2f}" if known else "—",
        ha="center",
        va="center",
        color=colour,
        fontsize=min(7.5, 75 / size),
        fontweight="bold" if row == column else "normal",
    )
    if row == column:
        # Inside the cell, so that neighbours on the diagonal do not share an edge.
        corner = (column - 0.42, row - 0.42)
        axes.add_patch(Rectangle(corner, 0.84, 0.84, fill=False, ec=colour, lw=0.9))


def _readable_on(colour: tuple[float, float, float, float]) -> str:
    """White or ink, by the colour's relative luminance (WCAG 2)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return "white" if luminance < 0.26 else INK


def _frame(axes: Axes, board: Board, matrix: Transfer) -> None:
    names = [short(name) for name in matrix.models]
    size = len(names)
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.set_xlabel("shown to (target)")
    axes.set_ylabel("made to fool (source)")
    axes.set_title(f"{short(matrix.setting.attack)}, ε = {matrix.setting.eps:g}")
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#d9d9d9", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    families = {model.name: model.family for model in board.models}
    for place in range(1, size):
        if families[matrix.models[place - 1]] != families[matrix.models[place]]:
            axes.axhline(place - 0.5, color=INK, linewidth=1.0)
            axes.axvline(place - 0.5, color=INK, linewidth=1.0)
