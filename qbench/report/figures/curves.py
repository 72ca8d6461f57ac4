"""Lines: accuracy under attack against ε, and test accuracy per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from qbench.report.board import Board, Curve, ModelFacts, Row
from qbench.report.figures.style import INK, WIDTH, Look, looks, new_figure, styled
from qbench.report.seed_values import SeedValues
from qbench.report.text import short

_LABELS_APART = 0.054  # of the accuracy axis, between names beside the ends of lines
WORST = None  # in place of an attack: the worst case over all of them


@styled
def accuracy(board: Board) -> Figure:
    """Accuracy under attack against ε, a column of panels a family.

    The first row is the worst case, where there are several attacks; then comes the reference
    attack. A name stands at the end of each line.
    Lines are means over seeds, bands ± one standard deviation; ε = 0 is clean.
    """
    families = sorted({model.family for model in board.models})
    drawn = looks(board.models)
    shown = [WORST, board.reference] if board.several else [board.reference]
    width = WIDTH if len(families) > 1 else 0.6 * WIDTH
    figure = new_figure(width, 2.9 * len(shown) + 0.3)
    grid = figure.subplots(len(shown), len(families), sharex=True, sharey=True, squeeze=False)
    by_model = {row.model.name: row for row in board.rows}
    for panels, attack in zip(grid, shown, strict=True):
        for axes, family in zip(panels, families, strict=True):
            members = [model for model in board.models if model.family == family]
            for model in members:
                points = _points(by_model[model.name], attack)
                # Bands of many models cover each other.
                shade = 0.13 if len(members) < 5 else 0.06 if len(members) < 9 else 0.03
                _line(axes, points, drawn[model.name], model.name, shade)
            _budget_axes(axes, board)
            _label_ends(axes, [(m, _points(by_model[m.name], attack)) for m in members], drawn)
        where = (
            "accuracy in the worst case" if attack is None else f"accuracy under {short(attack)}"
        )
        panels[0].set_ylabel(where)
    for axes, family in zip(grid[0], families, strict=True):
        axes.set_title(f"{family} models", loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("perturbation budget ε")
    return figure


@styled
def adversarial_training(board: Board) -> Figure:
    """Worst-case accuracy against ε with and without adversarial training, one panel a pair."""
    pairs = board.trained_pairs
    columns = min(4, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    drawn = looks(board.models)
    figure = new_figure(max(3.2, WIDTH * columns / 4), 1.9 * rows + 0.5)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (plain, other) in zip(grid.flat, pairs, strict=False):
        look = replace(drawn[plain.model.name], marker="o")
        _line(axes, _points(plain, WORST), replace(look, line=(0, (3, 1.5))), "", 0.08, open_=True)
        _line(axes, _points(other, WORST), replace(look, line="-"), "", 0.2)
        _budget_axes(axes, board)
        axes.set_title(short(plain.model.name, 18), loc="left")
    for axes in grid.flat[len(pairs) :]:
        axes.remove()
    figure.supxlabel("perturbation budget ε", fontsize=8.0)
    where = "in the worst case" if board.several else "under attack"
    figure.supylabel(f"accuracy {where}", fontsize=8.0)
    keys = [
        Line2D([], [], color=INK, marker="o", label="trained on attacked images"),
        Line2D([], [], color=INK, marker="o", mfc="white", ls=(0, (3, 1.5)), label="on clean ones"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=2, handlelength=3.0)
    return figure


def _points(row: Row, attack: str | None) -> list[tuple[float, SeedValues]]:
    if attack is None:
        return [(0.0, row.clean), *[(e, s) for e, s in sorted(row.worst_at.items()) if e > 0]]
    return [
        (0.0, row.clean),
        *[(s.eps, score) for s, score in row.robust.items() if s.attack == attack and s.eps > 0],
    ]


def _line(
    axes: Axes,
    points: Sequence[tuple[float, SeedValues]],
    look: Look,
    name: str,
    shade: float,
    open_: bool = False,
) -> None:
    known = [(eps, score.mean, score.std or 0.0) for eps, score in points if score.mean is not None]
    if len(known) < 2:
        return
    eps, mean, std = (np.array(column) for column in zip(*known, strict=True))
    low, high = np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1)
    axes.fill_between(eps, low, high, color=look.colour, alpha=shade, linewidth=0)
    axes.plot(
        eps,
        mean,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markerfacecolor="white" if open_ else look.colour,
        markeredgecolor=look.colour if open_ else "white",
        markeredgewidth=1.0 if open_ else 0.5,
        label=short(name),
        # Perfect accuracy lies on the frame: the marker must not be cut in half.
        clip_on=False,
        zorder=3,
    )


def _budget_axes(axes: Axes, board: Board) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.margins(x=0.02)
    ticks = [0.0, *[eps for eps in board.budgets if eps > 0]]
    axes.set_xticks(ticks, [f"{eps:g}" for eps in ticks])
    if board.rank_eps is not None:
        axes.axvline(board.rank_eps, color="#bdbdbd", linewidth=0.8, linestyle=":")


def _label_ends(
    axes: Axes,
    lines: Sequence[tuple[ModelFacts, Sequence[tuple[float, SeedValues]]]],
    drawn: Mapping[str, Look],
) -> None:
    """The name of each line beside its end, moved up or down where names would overlap."""
    ends = []
    for model, points in lines:
        known = [(eps, score.mean) for eps, score in points if score.mean is not None]
        if len(known) > 1:
            # Lines that end together keep the order that they had before.
            means = [mean for _, mean in reversed(known)]
            ends.append((means, model.name, known[-1]))
    ends.sort(key=lambda end: end[:2])
    apart = min(_LABELS_APART, 1.0 / max(len(ends), 1))
    places: list[float] = []
    for means, _, _ in ends:
        places.append(max(means[0], places[-1] + apart) if places else means[0])
    for index in reversed(range(len(places))):  # none above the frame
        highest = 1.0 if index == len(places) - 1 else places[index + 1] - apart
        places[index] = min(places[index], highest)
    beside = axes.get_yaxis_transform()
    for (_, name, end), place in zip(ends, places, strict=True):
        look = drawn[name]
        axes.plot(
            [1.13],
            [place],
            color=look.colour,
            marker=look.marker,
            markeredgecolor="white",
            markeredgewidth=0.5,
            transform=beside,
            clip_on=False,
        )
        axes.annotate(
            "",
            xy=end,
            xytext=(1.13, place),
            textcoords=beside,
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.9,
                "linestyle": look.line,
                "shrinkA": 4.0,
                "shrinkB": 3.0,
            },
            annotation_clip=False,
        )
        axes.text(1.17, place, short(name), transform=beside, va="center", fontsize=6.5)


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
