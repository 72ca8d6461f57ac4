"""Lipschitz bounds beside what was seen: how much a bound may overstate."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from qbench.report.board import Board
from qbench.report.certificate_types import Bound
from qbench.report.figures.style import INK, WIDTH, Look, looks, new_figure, styled
from qbench.report.text import short


@styled
def lipschitz(board: Board) -> Figure:
    """One line a model and certifier: the bound and the largest sampled Jacobian norm, log scale.

    Symbols are means over seeds, bars smallest to largest; models without a bound are left out.
    """
    proved = [entry for entry in board.bounds if entry.bound.mean]
    drawn = looks(board.models)
    figure = new_figure(WIDTH, 0.27 * len(proved) + 1.0)
    axes = figure.subplots()
    for place, entry in enumerate(proved):
        _line(axes, place, entry, drawn[entry.model])
    axes.set_xscale("log")
    axes.set_ylim(len(proved) - 0.4, -0.6)
    axes.set_yticks(range(len(proved)), [_label(entry) for entry in proved])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Lipschitz constant of the scores (ℓ2)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08)
    axes.text(1.05, 1.0, "ratio", transform=axes.transAxes, ha="right", va="bottom")
    keys = [
        Line2D([], [], marker="o", color=INK, linestyle="none", label="proven bound"),
        Line2D([], [], marker="o", color=INK, mfc="white", linestyle="none", label=_SAMPLED),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=2)
    return figure


_SAMPLED = "largest Jacobian norm at sampled points"


def _line(axes: Axes, place: int, entry: Bound, look: Look) -> None:
    bounds, sampled = entry.bound.values, [v for v in entry.sampled.values if v > 0]
    mean = entry.bound.mean or 0.0
    if sampled:
        seen = sum(sampled) / len(sampled)
        axes.plot([seen, mean], [place] * 2, color="#c8c8c8", linestyle=look.line, zorder=1)
        axes.plot([min(sampled), max(sampled)], [place] * 2, color=look.colour, zorder=2)
        axes.plot(seen, place, marker=look.marker, color=look.colour, mfc="white", zorder=3)
    axes.plot([min(bounds), max(bounds)], [place] * 2, color=look.colour, zorder=2)
    axes.plot(mean, place, marker=look.marker, color=look.colour, zorder=3)
    if entry.slack is not None:
        axes.annotate(
            f"{entry.slack:.1f}×",
            (1.05, place),
            xycoords=("axes fraction", "data"),
            va="center",
            ha="right",
        )


def _label(entry: Bound) -> str:
    parts = [part for part in (entry.certifier, entry.scope) if part]
    return f"{short(entry.model)}  ({', '.join(map(short, parts))})" if parts else entry.model
