"""Figures 2, 4, 5, 6 and 11 of the paper from our records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qbench.report.figures.style import FAINT, INK, WIDTH, Look, new_figure, styled
from qbench_claims.claim import EVERY, Quantity
from qbench_claims.evidence import Evidence, MissingError
from qbench_reproduction.judging import VIEWS, View
from qbench_reproduction.looks import model_looks
from qbench_reproduction.paper import CIRCUITS, EPS, LAMBDAS, LONGER, MODELS

Values = NDArray[np.float64]

BUDGETS = (0.05, 0.1, 0.2)
_EPOCHS = range(1, 101)


def means(found: Evidence | None, asked: Quantity) -> Values | None:
    """The mean over images of every seed, (seeds,); None where it is not on record."""
    if found is None:
        return None
    try:
        values: Values = found.measure(asked).values.mean(axis=1)
    except MissingError:
        return None
    return values


def under_attack(model: str, eps: float, view: View) -> Quantity:
    """Accuracy under attack as a view looks at it."""
    if view.worst:
        return Quantity(measure="worst", model=model, eps=eps)
    return Quantity(measure="robust", model=model, attack="pgd", eps=eps)


def transferred(source: str, target: str, view: View) -> Quantity:
    """Accuracy of a target on images made for a source, as a view looks at it."""
    attack = EVERY if view.worst else "pgd"
    return Quantity(measure="transfer", model=target, source=source, attack=attack, eps=EPS)


@styled
def training(found: Evidence) -> Figure:
    """Figure 11: test accuracy per epoch, mean and range over seeds."""
    panels = [*zip(LONGER, CIRCUITS, strict=True), ("amplitude",), ("convnet",), ("fourier",)]
    figure = new_figure(WIDTH, 3.7)
    grid = figure.subplots(2, 3, sharey=True)
    drawn = model_looks([names[-1] for names in panels])
    for axes, names in zip(grid.flat, panels, strict=True):
        _epochs(axes, found, names, drawn[names[-1]])
    figure.supxlabel("epoch", fontsize=8.0)
    figure.supylabel("test accuracy", fontsize=8.0)
    return figure


def _epochs(axes: Axes, found: Evidence, names: Sequence[str], look: Look) -> None:
    """The longest training of a model that is on record."""
    for name in names:
        each = [
            means(found, Quantity(measure="test-accuracy", model=name, epoch=epoch))
            for epoch in _EPOCHS
        ]
        known = [values for values in each if values is not None]
        if known:
            break
    else:
        return
    epochs = np.arange(1, len(known) + 1)
    values = np.array([of[: min(len(v) for v in known)] for of in known])
    axes.fill_between(epochs, values.min(1), values.max(1), color=look.colour, alpha=0.2, lw=0)
    axes.plot(epochs, values.mean(1), color=look.colour)
    axes.axhline(0.99, color=INK, linewidth=0.8, linestyle=":")
    axes.axvline(10, color=FAINT, linewidth=0.8, linestyle=":")
    axes.set(ylim=(0.2, 1.02), title=names[-1])
    axes.margins(x=0.02)


@styled
def accuracy(found: Mapping[str, Evidence]) -> Figure:
    """Figure 2: accuracy under attack against ε, a panel a view."""
    figure = new_figure(WIDTH, 3.4)
    panels = figure.subplots(1, len(VIEWS), sharey=True)
    drawn = model_looks(MODELS)
    for axes, view in zip(panels, VIEWS, strict=True):
        at = found.get(view.protocol)
        for name in MODELS:
            clean = means(at, Quantity(measure="clean", model=name))
            points = [(0.0, clean)]
            points += [(e, means(at, under_attack(name, e, view))) for e in BUDGETS]
            _with_bars(axes, points, name, drawn[name])
        axes.set(title=view.title, ylim=(-0.02, 1.02))
        axes.set_xticks([0.0, *BUDGETS], ["0", *(f"{eps:g}" for eps in BUDGETS)])
    panels[0].set_ylabel("accuracy")
    figure.supxlabel("perturbation budget ε (ℓ∞, pixel units)", fontsize=8.0)
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, handlelength=3.2)
    return figure


def _with_bars(
    axes: Axes, points: Sequence[tuple[float, Values | None]], name: str, look: Look
) -> None:
    known = [(x, values) for x, values in points if values is not None]
    if not known:
        return
    # Side by side, so that no error bar hides another.
    shift = 0.0012 * (MODELS.index(name) - (len(MODELS) - 1) / 2)
    axes.errorbar(
        [x + shift for x, _ in known],
        [values.mean() for _, values in known],
        [values.std(ddof=1) if len(values) > 1 else 0.0 for _, values in known],
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        markerfacecolor="white" if name in LONGER else look.colour,
        elinewidth=0.8,
        linewidth=1.1,
        markersize=4.0,
        label=name,
    )


@styled
def transfer_matrices(found: Mapping[str, Evidence]) -> Figure:
    """Figure 4: accuracy of model j on images made for model i, a matrix a protocol."""
    views = [view for view in VIEWS if not view.worst]
    figure = new_figure(WIDTH, 4.1)
    panels = figure.subplots(1, len(views), sharey=True)
    image = None
    for axes, view in zip(panels, views, strict=True):
        values = _matrix(found.get(view.protocol), view)
        image = axes.imshow(values, cmap="Blues_r", vmin=0.0, vmax=1.0)
        axes.grid(False)
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                dark = value < 0.55
                shown = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
                axes.text(column, row, shown, ha="center", va="center", fontsize=5.8,
                          color="white" if dark else INK)  # fmt: skip
        axes.set_xticks(range(len(MODELS)), MODELS, rotation=60, ha="right", fontsize=6.5)
        axes.set_yticks(range(len(MODELS)), MODELS, fontsize=6.5)
        axes.tick_params(length=0)
        axes.set(title=view.title, xlabel="shown to (j)")
    panels[0].set_ylabel("made for (i)")
    assert image is not None
    bar = figure.colorbar(image, ax=panels, shrink=0.7, pad=0.01)
    bar.set_label("accuracy of j, mean over seeds")
    return figure


def _matrix(found: Evidence | None, view: View) -> Values:
    values = np.full((len(MODELS), len(MODELS)), np.nan)
    for i, source in enumerate(MODELS):
        for j, target in enumerate(MODELS):
            own = source == target
            asked = under_attack(target, EPS, view) if own else transferred(source, target, view)
            at = means(found, asked)
            if at is not None:
                values[i, j] = at.mean()
    return values


@styled
def regularised_transfer(found: Mapping[str, Evidence]) -> Figure:
    """Figures 5 and 6: images made for the Fourier network on ReUp(λ), and the other way round."""
    figure = new_figure(WIDTH, 4.3)
    grid = figure.subplots(2, len(VIEWS), sharex=True, sharey="row")
    for column, view in enumerate(VIEWS):
        at = found.get(view.protocol)
        for names, label, filled in ((CIRCUITS, "20 epochs", True), (LONGER, "100 epochs", False)):
            fifth = [means(at, transferred("fourier", name, view)) for name in names]
            sixth = [means(at, transferred(name, "fourier", view)) for name in names]
            _against_lambda(grid[0, column], fifth, label, filled)
            _against_lambda(grid[1, column], sixth, label, filled)
        worst = "all attacks" if view.worst else "PGD"
        grid[0, column].set_title(f"{view.title}\n({worst} at ε = {EPS:g})")
    grid[0, 0].set_ylabel("accuracy of ReUp(λ) on\nimages made for Fourier")
    grid[1, 0].set_ylabel("accuracy of Fourier on\nimages made for ReUp(λ)")
    grid[0, 0].set_xticks(LAMBDAS)
    figure.supxlabel("regularisation λ", fontsize=8.0)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _against_lambda(axes: Axes, each: Sequence[Values | None], label: str, filled: bool) -> None:
    known = [(x, of) for x, of in zip(LAMBDAS, each, strict=True) if of is not None]
    if not known:
        return
    colour, shift = ("#332288", -0.004) if filled else ("#CC6677", 0.004)
    for x, values in known:
        axes.plot([x + shift] * len(values), values, ".", color=colour, alpha=0.45, markersize=3)
    axes.errorbar(
        [x + shift for x, _ in known],
        [values.mean() for _, values in known],
        [values.std(ddof=1) if len(values) > 1 else 0.0 for _, values in known],
        color=colour,
        marker="o" if filled else "s",
        markerfacecolor=colour if filled else "white",
        linestyle="-" if filled else "--",
        capsize=2.5,
        label=label,
    )
    axes.set_ylim(-0.02, 1.02)
