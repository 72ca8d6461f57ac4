"""Lines: accuracy under attack against ε, and test accuracy per epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qbench.reporting.board import Board, Curve, Row
from qbench.reporting.figures.style import WIDTH, Look, looks, new_figure, short, styled


@styled
def accuracy(board: Board) -> Figure:
    """Accuracy under attack against ε: a row of panels an attack, a column a family.

    Lines are means over seeds, bands ± one standard deviation; ε = 0 is clean accuracy.
    """
    families = sorted({model.family for model in board.models})
    drawn = looks(board.models)
    width = WIDTH if len(families) > 1 else 0.6 * WIDTH
    figure = new_figure(width, 2.3 * len(board.attacks) + 0.9)
    grid = figure.subplots(
        len(board.attacks), len(families), sharex=True, sharey=True, squeeze=False
    )
    by_model = {row.model.name: row for row in board.rows}
    for panels, attack in zip(grid, board.attacks, strict=True):
        for axes, family in zip(panels, families, strict=True):
            for model in (m for m in board.models if m.family == family):
                _accuracy_line(axes, by_model[model.name], attack, drawn[model.name])
            axes.set_ylim(-0.02, 1.02)
            axes.margins(x=0.02)
            if board.rank_eps is not None:
                axes.axvline(board.rank_eps, color="#bdbdbd", linewidth=0.8, linestyle=":")
        panels[0].set_ylabel(f"accuracy under {short(attack)}")
    for axes, family in zip(grid[0], families, strict=True):
        axes.set_title(f"{family} models", loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("perturbation budget ε")
        ticks = [0.0, *sorted({s.eps for s in board.settings if s.eps > 0})]
        axes.set_xticks(ticks, [f"{eps:g}" for eps in ticks])
        _legend_below(axes)
    return figure


def _accuracy_line(axes: Axes, row: Row, attack: str, look: Look) -> None:
    points = [(0.0, row.clean)]
    points += [(s.eps, v) for s, v in row.robust.items() if s.attack == attack and s.eps > 0]
    known = [(eps, score.mean, score.std or 0.0) for eps, score in points if score.mean is not None]
    if len(known) < 2:
        return
    eps, mean, std = (np.array(column) for column in zip(*known, strict=True))
    axes.fill_between(
        eps,
        np.clip(mean - std, 0, 1),
        np.clip(mean + std, 0, 1),
        color=look.colour,
        alpha=0.13,
        linewidth=0,
    )
    axes.plot(
        eps,
        mean,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markeredgecolor="white",
        markeredgewidth=0.5,
        label=short(row.model.name),
        # Perfect accuracy lies on the frame: the marker must not be cut in half.
        clip_on=False,
        zorder=3,
    )


def _legend_below(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=2 if len(handles) > 2 else 1,
            handlelength=3.0,
            columnspacing=1.6,
        )


@styled
def training(board: Board) -> Figure:
    """Test accuracy per epoch, one panel a model: mean and smallest to largest over seeds."""
    curves = board.curves
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    drawn = looks(board.models)
    figure = new_figure(WIDTH, 1.55 * rows + 0.35)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    lowest = _lowest(curves)
    for axes, curve in zip(grid.flat, curves, strict=False):
        _training_panel(axes, curve, drawn[curve.model])
        axes.set_ylim(lowest, 1.0 + 0.03 * (1.0 - lowest))
    for axes in grid.flat[len(curves) :]:
        axes.remove()
    figure.supxlabel("epoch", fontsize=8.0)
    figure.supylabel("test accuracy", fontsize=8.0)
    return figure


def _training_panel(axes: Axes, curve: Curve, look: Look) -> None:
    length = min(len(values) for _, values in curve.by_seed)
    values = np.array([found[:length] for _, found in curve.by_seed])
    epochs = np.arange(1, length + 1)
    axes.fill_between(
        epochs, values.min(0), values.max(0), color=look.colour, alpha=0.2, linewidth=0
    )
    axes.plot(epochs, values.mean(0), color=look.colour, linestyle=look.line, linewidth=1.2)
    axes.set_title(short(curve.model, 18), loc="left")
    final = f"final {values[:, -1].mean():.3f}"
    axes.set_title(final, loc="right", fontsize=7.0, color="#595959")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def _lowest(curves: Sequence[Curve]) -> float:
    """Where the axis starts: nine in ten values lie above, the steep first epochs may not."""
    values = np.concatenate([np.asarray(found) for curve in curves for _, found in curve.by_seed])
    return max(0.0, math.floor(float(np.quantile(values, 0.1)) * 20 - 1) / 20)
