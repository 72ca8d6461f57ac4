"""Figures 3 and 7 of the paper for every model: perturbed images, and what perturbs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from qbench.datasets.base import Dataset, Split
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import predict
from qbench.protocols import Protocol
from qbench.report.figures.style import INK, WIDTH, WRONG, hide, new_figure, styled
from qbench_claims.patterns import EPS, Trained, attacked, input_gradient, smoothgrad

SEED = 0
_SIGNED = "RdBu_r"  # Brewer's: told apart under every common colour-vision deficiency


@dataclass(frozen=True)
class Example:
    """What PGD does to one image a class, for one model.

    Args:
        x_adv: Perturbed images (classes, height, width).
        delta: What was added, the same shape.
        gradient, smoothgrad: Minus the gradient of the label's margin, and its mean over noisy
            copies of the image, the same shape.
        predicted: Class of each perturbed image (classes,).
    """

    x_adv: NDArray[np.float64]
    delta: NDArray[np.float64]
    gradient: NDArray[np.float64]
    smoothgrad: NDArray[np.float64]
    predicted: NDArray[np.int64]


def examples(dataset: Dataset, protocol: Protocol, models: Iterable[Trained]) -> dict[str, Example]:
    """The first test image of every class, perturbed for models, by their names.

    Args:
        dataset: Of images.
        protocol: How PGD attacks.
        models: Of the zoo; one that it has not is left out.
    """
    assert dataset.image_shape is not None
    labels = dataset.test.y
    first = [int((labels == c).nonzero()[0]) for c in range(len(dataset.classes))]
    x, y = dataset.test.x[first], labels[first]
    shape = (len(first), *dataset.image_shape)
    found = {}
    for one in models:
        model = one.load()
        if model is None:
            continue
        with isolated(one.seed):
            x_adv = attacked(model, Split(x, y), one.seed, protocol)
            each = (
                x_adv,
                x_adv - x,
                -input_gradient(model, x, y),
                -smoothgrad(model, x, y, one.seed),
            )
            pictures = [of.double().view(shape).numpy() for of in each]
            predicted = predict(model, x_adv).argmax(1).numpy()
            found[one.model] = Example(*pictures, predicted)  # type: ignore[call-arg]
    return found


@styled
def perturbed(dataset: Dataset, found: Mapping[str, Example]) -> Figure:
    """Figure 3: one perturbed image a class for every model, with the class that it is given."""
    assert dataset.image_shape is not None
    classes = dataset.classes
    figure = _sheet(len(found) + 1, len(classes))
    grid = figure.subplots(len(classes), len(found) + 1, squeeze=False)
    labels = dataset.test.y
    for c, row in enumerate(grid):
        clean = dataset.test.x[int((labels == c).nonzero()[0])].view(dataset.image_shape)
        _picture(row[0], clean.numpy())
        row[0].set_xlabel(classes[c], fontsize=8)
        for axes, example in zip(row[1:], found.values(), strict=True):
            _picture(axes, example.x_adv[c])
            given = int(example.predicted[c])
            axes.set_xlabel(classes[given], fontsize=8, color=INK if given == c else WRONG)
    for axes, title in zip(grid[0], ("clean", *found), strict=True):
        axes.set_title(title.replace("-ep100", "\nep100"), fontsize=6.5, loc="center")
    return figure


@styled
def patterns(dataset: Dataset, found: Mapping[str, Example]) -> Figure:
    """Figure 7: δ, the gradient and SmoothGrad of one image a class, a row a model."""
    classes = dataset.classes
    kinds = (("δ", "delta"), ("gradient", "gradient"), ("SmoothGrad", "smoothgrad"))
    columns = len(classes) * len(kinds)
    figure = _sheet(columns, len(found))
    grid = figure.subplots(len(found), columns, squeeze=False)
    for row, (name, example) in zip(grid, found.items(), strict=True):
        for c in range(len(classes)):
            for k, (_, what) in enumerate(kinds):
                values = getattr(example, what)[c]
                axes = row[c * len(kinds) + k]
                largest = EPS if what == "delta" else max(float(np.abs(values).max()), 1e-12)
                hide(axes)
                axes.imshow(
                    values, cmap=_SIGNED, vmin=-largest, vmax=largest, interpolation="nearest"
                )
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=6.5)
    for c, symbol in enumerate(classes):
        for k, (title, _) in enumerate(kinds):
            head = f"{symbol}\n{title}" if k == 1 else f"\n{title}"
            grid[0, c * len(kinds) + k].set_title(head, fontsize=5.2, loc="center")
    return figure


def _sheet(columns: int, rows: int) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    side = (WIDTH - 0.8) / columns
    return new_figure(WIDTH, side * rows + 0.25 * rows * (columns < 11) + 0.5, layout)


def _picture(axes: Axes, image: NDArray[np.float64]) -> None:
    hide(axes)
    axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
