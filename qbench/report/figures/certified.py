"""Certificates beside attacks: accuracy between the two against ε, and radii image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from qbench.report.board import Board, Row
from qbench.report.certificate_types import Certified
from qbench.report.figures.style import INK, WIDTH, Look, looks, new_figure, styled
from qbench.report.seed_values import SeedValues
from qbench.report.text import norm, short

_COLUMNS = 4
_DASHED = (0, (3, 1.5))
_SHADE = 0.18
_BEYOND = 1.02  # the axis ends a little after the largest budget
_DECADES = 2.5  # shown of radii and distances, at most


@styled
def accuracy(board: Board, about: str) -> Figure:
    """Certified accuracy and what attacks left, against ε, one panel a model.

    Both curves are exact: the share of images certified at ε, and the share that nothing on record
    broke within ε, means over seeds. Dots are the worst case at the attacked budgets.
    """
    shown = _shown(board, about)
    figure, grid = _panels(len(shown), 1.62)
    drawn = looks(board.models)
    attacked = about == board.norm and bool(board.budgets)
    largest = max(board.certified_budgets(about))
    limit, ticks = _BEYOND * largest, (0.0, largest / 2, largest)
    for axes, (row, proved) in zip(grid, shown, strict=True):
        _curves(axes, row, proved, drawn[row.model.name], limit, attacked)
        axes.set_title(short(row.model.name, 14), loc="left", fontsize=8.0)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0, limit)
        axes.set_xticks(ticks, [f"{eps:g}" for eps in ticks])
        if attacked and board.rank_eps is not None:
            axes.axvline(board.rank_eps, color="#bdbdbd", linewidth=0.8, linestyle=":")
            ends = proved.accuracy.get(board.rank_eps, SeedValues()).mean, row.worst.mean
            if None not in ends:
                words = "{:.2f}–{:.2f}".format(*ends)
                axes.set_title(words, loc="right", fontsize=6.5, color="#595959")
    figure.supxlabel(f"perturbation budget ε ({norm(about)})", fontsize=8.0)
    figure.supylabel("accuracy", fontsize=8.0)
    keys: list[Any] = [
        Line2D([], [], color=INK, label="certified"),
        Line2D([], [], color=INK, linestyle=_DASHED, linewidth=1.0, label="not broken on record"),
        Patch(color=INK, alpha=_SHADE, linewidth=0, label="undecided"),
    ]
    if attacked:
        keys.append(Line2D([], [], color=INK, marker="o", linestyle="none", label="worst case"))
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), handlelength=2.4)
    return figure


def _curves(
    axes: Axes, row: Row, proved: Certified, look: Look, limit: float, attacked: bool
) -> None:
    ends = np.concatenate(proved.pooled)
    eps = np.unique(np.concatenate([[0.0, limit], ends[(ends > 0) & (ends < limit)]]))
    certified, left = proved.curves(eps)
    axes.fill_between(
        eps, certified, left, step="post", color=look.colour, alpha=_SHADE, linewidth=0
    )
    axes.step(eps, left, where="post", color=look.colour, linestyle=_DASHED, linewidth=1.0)
    axes.step(eps, certified, where="post", color=look.colour, linewidth=1.5)
    if attacked:
        points = [(0.0, row.clean.mean), *((e, s.mean) for e, s in row.worst_at.items() if e > 0)]
        known = [(e, mean) for e, mean in points if mean is not None and e <= limit]
        axes.plot(
            *zip(*known, strict=True),
            linestyle="none",
            marker="o",
            markersize=3.8,
            color=look.colour,
            markeredgecolor="white",
            markeredgewidth=0.5,
            clip_on=False,
            zorder=3,
        )


@styled
def radii(board: Board, about: str) -> Figure:
    """Certified radius against the nearest adversarial image on record, one panel a model.

    A point an image and seed that is classified correctly, on logarithmic axes. Images with no
    radius, or one below the axis, are ticks at the bottom; images that were never broken are arrows
    at the right edge.
    """
    shown = _shown(board, about)
    figure, grid = _panels(len(shown), 1.85)
    drawn = looks(board.models)
    pooled = [proved.pooled for _, proved in shown]
    distances, below = _range([distance for _, distance in pooled])
    proved_radii, above = _range([radius for radius, _ in pooled])
    low, high = max(proved_radii, above * 10**-_DECADES), max(above, below)
    for axes, (row, proved) in zip(grid, shown, strict=True):
        _points(axes, proved, drawn[row.model.name], (distances, low, high))
        _logarithmic(axes.xaxis, distances, high)
        _logarithmic(axes.yaxis, low, high)
        axes.set_title(short(row.model.name, 16), loc="left")
    figure.supxlabel(f"distance of the nearest adversarial image ({norm(about)})", fontsize=8.0)
    figure.supylabel(f"certified radius ({norm(about)})", fontsize=8.0)
    keys = [
        Line2D([], [], color=INK, marker="o", ms=3, linestyle="none", label="image"),
        Line2D([], [], color=INK, marker=">", ms=3.5, linestyle="none", label="never broken"),
        Line2D(
            [],
            [],
            color=INK,
            marker="|",
            ms=4,
            linestyle="none",
            label="radius below the axis, or none",
        ),
        Line2D([], [], color=INK, linewidth=0.8, label="radius = distance"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=4)
    return figure


def _points(axes: Axes, proved: Certified, look: Look, limits: tuple[float, float, float]) -> None:
    left, low, high = limits
    radius, distance = proved.pooled
    x = np.clip(distance, left * 1.04, high / 1.08)
    y = np.clip(radius, low * 1.05, high / 1.12)
    broken, has = np.isfinite(distance), radius >= low
    opacity = float(np.clip(120 / max(1, len(x)), 0.12, 0.8))
    axes.plot([min(left, low), high], [min(left, low), high], color=INK, linewidth=0.8, zorder=1)
    axes.set_xlim(left, high)
    axes.set_ylim(low, high)
    for chosen, marker, size in (
        (broken & has, "o", 7.0),
        (~broken & has, ">", 9.0),
        (~has, "|", 12.0),
    ):
        axes.scatter(
            x[chosen],
            y[chosen],
            s=size,
            c=look.colour,
            marker=marker,
            alpha=opacity if marker != "|" else 0.5,
            linewidths=0.6 if marker == "|" else 0.0,
            clip_on=False,
        )
    both = broken & (radius > 0)
    if both.any():
        ratio = float(np.median(distance[both] / radius[both]))
        axes.set_title(f"{ratio:.1f}×", loc="right", fontsize=7.0, color="#595959")


def _logarithmic(axis: Any, low: float, high: float) -> None:
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    subs = (1,) if high / low > 60 else (1, 3) if high / low > 15 else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _range(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Around all that are positive and finite."""
    found = np.concatenate(values)
    positive = found[(found > 0) & np.isfinite(found)]
    if not len(positive):
        return 0.01, 1.0
    return float(positive.min()) / 1.4, float(positive.max()) * 1.5


def _shown(board: Board, about: str) -> list[tuple[Row, Certified]]:
    rows = {row.model.name: row for row in board.rows}
    found = [(rows[model.name], rows[model.name].proved(about)) for model in board.models]
    return [(row, proved) for row, proved in found if proved is not None and proved.images]


def _panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = new_figure(max(4.4, WIDTH * columns / _COLUMNS), height * rows + 0.65)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= count:
            axes.remove()
        elif place + columns >= count:
            axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])
