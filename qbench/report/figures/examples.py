"""What an attack did to one image, or to one row of a table, model by model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qbench.report.examples import Example, Examples
from qbench.report.figures.style import FAINT, INK, WIDTH, WRONG, hide, new_figure, styled
from qbench.report.text import short

_GAP = 0.07  # inches, between images of one model
_BETWEEN = 0.32  # inches, between blocks of models
_NAME = 0.24  # inches, above the images
_WORDS = 0.3  # inches, below the images
_TOP = 0.2
_BOTTOM = 0.4
_DIVERGING = "RdBu_r"


@styled
def examples(shown: Examples, classes: Sequence[str]) -> Figure:
    """The image x, the perturbation δ and x' = x + δ, one strip a model, predictions below.

    Args:
        shown: The same image attacked for several models.
        classes: Names of the classes by label; labels beyond it are shown as numbers.
    """
    blocks = 1 if len(shown.rows) <= 3 else 2 if len(shown.rows) <= 8 else 3
    lines = math.ceil(len(shown.rows) / blocks)
    width = WIDTH if blocks > 1 else WIDTH / 2
    side = ((width - 0.2 - _BETWEEN * (blocks - 1)) / blocks - 2 * _GAP) / 3
    height = lines * (_NAME + side + _WORDS) + _TOP + _BOTTOM
    figure = new_figure(width, height, layout="none")
    for place, example in enumerate(shown.rows):
        block, line = divmod(place, lines)
        left = 0.1 + block * (3 * side + 2 * _GAP + _BETWEEN)
        bottom = height - _TOP - line * (_NAME + side + _WORDS) - _NAME - side
        _strip(figure, example, shown, classes, (left, bottom, side))
    noun = "image" if shown.rows[0].x.ndim == 2 else "row"
    figure.text(
        0.1 / width,
        1 - 0.06 / height,
        f"ε = {shown.eps:g}, {noun} {shown.index}, class {_name(classes, shown.label)}",
        va="top",
        fontsize=8.5,
    )
    _delta_bar(figure, shown.eps, width, height)
    return figure


def _strip(
    figure: Figure,
    example: Example,
    shown: Examples,
    classes: Sequence[str],
    place: tuple[float, float, float],
) -> None:
    left, bottom, side = place
    width, height = figure.get_size_inches()
    limit = shown.eps or 1.0
    pictures: list[tuple[NDArray[Any] | None, str, float, float]] = [(example.x, "gray", 0.0, 1.0)]
    if example.x_adv is None:
        pictures += [(None, "", 0.0, 1.0)] * 2
    else:
        pictures.append((example.x_adv - example.x, _DIVERGING, -limit, limit))
        pictures.append((example.x_adv, "gray", 0.0, 1.0))
    panels = []
    for column, (image, colours, low, high) in enumerate(pictures):
        box = (left + column * (side + _GAP), bottom, side, side)
        axes = figure.add_axes((box[0] / width, box[1] / height, side / width, side / height))
        hide(axes)
        if image is not None:
            _draw(axes, image, colours, low, high)
        panels.append(axes)
    panels[0].set_title(short(example.model), loc="left", pad=3.5)
    _verdict(panels[0], "x", example.clean_prediction, shown.label, classes)
    if example.x_adv is None or example.adversarial_prediction is None:
        right = example.clean_prediction == shown.label
        _below(panels[2], "not broken" if right else "wrong already", FAINT, "normal")
        return
    _below(panels[1], f"|δ| ≤ {np.abs(example.x_adv - example.x).max():.3g}", INK, "normal")
    _verdict(panels[2], "x′", example.adversarial_prediction, shown.label, classes)


def _draw(axes: Axes, values: NDArray[Any], colours: str, low: float, high: float) -> None:
    """An image, or the features of a row as bars."""
    if values.ndim == 2:
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        return
    shades = matplotlib.colormaps[_DIVERGING](Normalize(low, high)(values)) if low < 0 else INK
    axes.bar(range(len(values)), values, width=0.8, color=shades)
    axes.axhline(0.0, color=FAINT, linewidth=0.6)
    axes.set(xlim=(-0.6, len(values) - 0.4), ylim=(low, high))


def _verdict(axes: Axes, image: str, found: int, label: int, classes: Sequence[str]) -> None:
    right = found == label
    words = f"{image} → {_name(classes, found)}" + ("" if right else "  ✗")
    _below(axes, words, INK if right else WRONG, "normal" if right else "bold")
    if not right:
        for spine in axes.spines.values():
            spine.set(visible=True, color=WRONG, linewidth=1.8)


def _below(axes: Axes, words: str, colour: str, weight: str) -> None:
    axes.annotate(
        words,
        (0.5, 0.0),
        xytext=(0, -4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=7.5,
        color=colour,
        fontweight=weight,
    )


def _delta_bar(figure: Figure, eps: float, width: float, height: float) -> None:
    limit = eps or 1.0
    axes = figure.add_axes((0.5 - 1.0 / width, 0.26 / height, 2.0 / width, 0.09 / height))
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), matplotlib.colormaps[_DIVERGING]),
        cax=axes,
        orientation="horizontal",
        ticks=[-limit, 0, limit],
        format="{x:g}",
    )
    bar.outline.set_visible(False)
    axes.tick_params(length=0, pad=2)
    axes.annotate(
        "δ",
        (0, 0.5),
        xytext=(-12, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
    )


def _name(classes: Sequence[str], label: int) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)
