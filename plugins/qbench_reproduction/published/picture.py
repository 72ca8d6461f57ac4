"""The figure of the authors' checkpoints: accuracy under attack, and transfer."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from qbench.records.statistics import wilson_interval
from qbench.report.board import ModelFacts
from qbench.report.figures.matrix import Grid, heat_map
from qbench.report.figures.style import INK, WIDTH, looks, new_figure, styled
from qbench.report.text import short
from qbench_reproduction.published.results import PublishedResults, UnderProtocol

_QUANTUM = ("reup", "amplitude")
_CURVES, _AROUND = 2.3, 1.3  # inches: height of the curves, and of what stands around the axes
_CELL, _SIDE = 0.46, 2.4  # inches: of a matrix, at most
_LARGEST, _FILL = 7.0, 22.0  # points: of its numbers, and of a number an inch of its cell
_APART = 0.0022  # pixel units between the error bars of two checkpoints at one budget


@styled
def figure(results: PublishedResults) -> Figure:
    """Above, robust accuracy by ε with 95 % Wilson intervals, a column a protocol; below, transfer.

    Hollow markers are the worst case over all attacks. Checkpoints have numbers, which the columns
    of the matrices carry.
    """
    side = min(_CELL * len(results.checkpoints), _SIDE)
    height = _CURVES + side + _AROUND + 0.1 * len(results.checkpoints)
    drawn = new_figure(WIDTH, height, ConstrainedLayoutEngine(h_pad=0.08))
    axes = drawn.subplots(2, len(results.protocols), height_ratios=(_CURVES, side), squeeze=False)
    for column, one in enumerate(results.protocols):
        _curves(axes[0, column], results, one)
        _matrix(axes[1, column], results, one, first=column == 0)
    axes[0, 0].set_ylabel("robust accuracy under PGD")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="none"))
    labels.append("hollow: worst case over every attack")
    drawn.legend(handles, labels, loc="outside upper center", ncols=2)
    return drawn


def _curves(axes: Axes, results: PublishedResults, one: UnderProtocol) -> None:
    facts = [
        ModelFacts(c.file, "quantum" if c.model in _QUANTUM else "classical")
        for c in results.checkpoints
    ]
    look = looks(facts)
    eps = np.array([0.0, *one.eps])
    for at, (checkpoint, accuracy) in enumerate(
        zip(results.checkpoints, one.accuracy, strict=True)
    ):
        shown, beside = look[checkpoint.file], _APART * (at - (len(facts) - 1) / 2)
        values = np.array([accuracy.clean, *accuracy.robust])
        ends = np.array([wilson_interval(value * one.images, one.images) for value in values])
        axes.errorbar(
            eps + beside,
            values,
            np.abs(ends.T - values),
            color=shown.colour,
            marker=shown.marker,
            linestyle=shown.line,
            elinewidth=0.8,
            label=f"{at + 1}  {short(checkpoint.file, 40)}",
        )
        axes.plot(
            one.transfer_eps + beside,
            accuracy.worst,
            color=shown.colour,
            marker=shown.marker,
            markerfacecolor="white",
            linestyle="none",
            zorder=3,
        )
    axes.set_xticks(eps)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlabel("ε (ℓ∞, in units of the pixel range)")
    axes.set_title(f"{one.protocol}, {one.images} images")


def _matrix(axes: Axes, results: PublishedResults, one: UnderProtocol, *, first: bool) -> None:
    files = [checkpoint.file for checkpoint in results.checkpoints]
    grid = Grid(
        values=np.array(one.transfer),
        rows=files,
        columns=files,
        framed=np.eye(len(files), dtype=np.bool_),
    )
    heat_map(axes, grid, min(_LARGEST, _FILL * _SIDE / len(files)))
    numbers = range(1, len(files) + 1)
    axes.set_xticks(range(len(files)), [str(n) for n in numbers], rotation=0, ha="center")
    axes.set_xlabel("shown to (target)")
    axes.set_title(f"accuracy of the target, PGD, ε = {one.transfer_eps:g}")
    if first:
        axes.set_ylabel("made to fool (source)")
        named = [f"{short(file)}  {n}" for file, n in zip(files, numbers, strict=True)]
    else:
        named = [str(n) for n in numbers]
    axes.set_yticks(range(len(files)), named)
