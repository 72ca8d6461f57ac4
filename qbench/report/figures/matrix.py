"""Heat maps: the transfer matrix, and every attack beside every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from qbench.report.board import Board
from qbench.report.figures.style import FAINT, INK, WIDTH, new_figure, styled
from qbench.report.seed_values import SeedValues
from qbench.report.text import short
from qbench.report.transfer import Setting, Transfer

_CELL = 0.5  # inches
_FLAT = 0.26  # inches: height of a cell where rows are many
_CHARACTER = 0.068  # inches, of a name
_COLOURS = "Blues_r"


@dataclass(frozen=True)
class Grid:
    """What a heat map shows: values (rows, columns), NaN where there is none, and their marks."""

    values: NDArray[Any]
    rows: Sequence[str]
    columns: Sequence[str]
    framed: NDArray[np.bool_]


@styled
def transfer(board: Board, matrix: Transfer) -> Figure:
    """Accuracy of each target (column) on inputs made for each source (row), mean over seeds."""
    size = len(matrix.models)
    grid = Grid(
        values=np.array(
            [
                [_number(matrix.entries[source, target].mean) for target in matrix.models]
                for source in matrix.models
            ]
        ),
        rows=matrix.models,
        columns=matrix.models,
        framed=np.eye(size, dtype=np.bool_),
    )
    figure, axes = _draw(board, grid, _CELL, "target's accuracy")
    axes.set_xlabel("shown to (target)")
    axes.set_ylabel("made to fool (source)")
    axes.set_title(f"{short(matrix.setting.attack)}, ε = {matrix.setting.eps:g}")
    families = _families(board, matrix.models)
    for place in _changes(families):
        axes.axhline(place - 0.5, color=INK, linewidth=1.0)
    return figure


@styled
def attacks(board: Board) -> Figure:
    """Robust accuracy under each attack (row) of each model (column), the worst case below."""
    eps = board.rank_eps or 0.0
    by_model = {row.model.name: row for row in board.rows}
    names = [model.name for model in board.models]
    shown = board.by_strength
    values = [
        [
            _number(by_model[name].robust.get(Setting(attack, eps), SeedValues()).mean)
            for name in names
        ]
        for attack in shown
    ]
    worst = [_number(by_model[name].worst.mean) for name in names]
    strongest = [board.strongest(by_model[name]) for name in names]
    framed = [[attack in found for found in strongest] for attack in shown]
    grid = Grid(
        values=np.array([*values, worst]),
        rows=[*shown, "worst case"],
        columns=names,
        framed=np.array([*framed, [False] * len(names)]),
    )
    figure, axes = _draw(board, grid, _FLAT, "robust accuracy")
    axes.set_title(f"ε = {eps:g}")
    axes.axhline(len(shown) - 0.5, color=INK, linewidth=1.0)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    return figure


def _draw(board: Board, grid: Grid, cell: float, meaning: str) -> tuple[Figure, Axes]:
    rows, columns = grid.values.shape
    above = _CHARACTER * max(len(short(name)) for name in grid.columns)
    beside = _CHARACTER * max(len(short(name)) for name in grid.rows)
    width = min(_CELL * columns, WIDTH - beside - 1.3)
    # Cells are as high as they are wide, unless they are flat on purpose.
    height = rows * min(cell, width / columns if cell == _CELL else cell)
    figure = new_figure(width + beside + 1.3, height + 0.7 * above + 1.0)
    axes = figure.subplots()
    drawn = heat_map(axes, grid, min(7.5, 19 * width / columns), flat=cell == _FLAT)
    for place in _changes(_families(board, grid.columns)):
        axes.axvline(place - 0.5, color=INK, linewidth=1.0)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(meaning)
    return figure, axes


def heat_map(axes: Axes, grid: Grid, size: float, *, flat: bool = False) -> AxesImage:
    """Draw a grid of shares, every cell with its number in letters of that size (points).

    Args:
        axes: Where.
        grid: Values in [0, 1], and the names of rows and columns.
        size: Of the numbers.
        flat: Cells fill the axes instead of being squares.
    """
    colours = matplotlib.colormaps[_COLOURS].with_extremes(bad="white")
    drawn = axes.imshow(
        grid.values, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto" if flat else "equal"
    )
    for row, column in np.ndindex(*grid.values.shape):
        _cell(axes, (row, column), grid, colours, size)
    _frame(axes, grid)
    return drawn


def _cell(axes: Axes, place: tuple[int, int], grid: Grid, colours: Colormap, size: float) -> None:
    row, column = place
    value, framed = float(grid.values[place]), bool(grid.framed[place])
    known = not np.isnan(value)
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
        fontsize=size,
        fontweight="bold" if framed else "normal",
    )
    if framed:
        # Inside the cell, so that neighbours do not share an edge.
        corner = (column - 0.42, row - 0.42)
        axes.add_patch(Rectangle(corner, 0.84, 0.84, fill=False, ec=colour, lw=0.9))


def _readable_on(colour: tuple[float, float, float, float]) -> str:
    """White or ink, by the colour's relative luminance (WCAG 2)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return "white" if luminance < 0.26 else INK


def _frame(axes: Axes, grid: Grid) -> None:
    rows, columns = grid.values.shape
    names = [short(name) for name in grid.columns]
    axes.set_xticks(range(columns), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), [short(name) for name in grid.rows])
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#d9d9d9", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _families(board: Board, names: Sequence[str]) -> list[str]:
    families = {model.name: model.family for model in board.models}
    return [families[name] for name in names]


def _changes(families: Sequence[str]) -> list[int]:
    """Places before which another family begins."""
    return [place for place in range(1, len(families)) if families[place - 1] != families[place]]


def _number(mean: float | None) -> float:
    return float("nan") if mean is None else mean
