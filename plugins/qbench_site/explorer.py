"""What the sample explorer shows: images, models to run in the browser, and results on record."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.datasets.base import Dataset, Split, load_data
from qbench.errors import QbenchError
from qbench.protocols import Protocol
from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.results import Results
from qbench.records.worst import at_ranking_budget, broken_margins
from qbench.report.board import Board
from qbench.report.noisy_engines import split
from qbench.report.outcomes import Distances
from qbench.report.radii import best, by_seed, proves
from qbench.report.table import Table, left, number, right, text
from qbench_site.content import File, Page, Source
from qbench_site.live_models import live_model
from qbench_site.render import as_script

_LEVELS = 127  # of a kept perturbation, from 0 to ε
_ROUNDING = 0.05  # of 1e-5: distances are measured in float32, up to ε(1 + 1e-6)
# What attack.js needs to know of an attack, where a protocol leaves it free.
_ATTACKS: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 40, "relative_step": 2.5, "random_start": True, "keep": "best"},
    "fgsm": {"steps": 1, "relative_step": 1.0, "random_start": False, "keep": "last"},
}


def pages(source: Source) -> Iterator[Page | File]:
    """The explorer of a board and its data; nothing for a board that it cannot show."""
    try:
        dataset = load_data(source.board.about.data.name, source.plugins)
    except QbenchError:
        return
    data = explorer_data(source, dataset)
    if data is None:
        return
    file = f"{source.folder}data/explorer.js"
    yield File(file, as_script("explorer", data))
    yield Page(
        path=f"{source.folder}explorer.html",
        template="explorer.html.j2",
        title="Sample explorer",
        section="explorer",
        source=source,
        context={"eps": data["eps"], "seed": data["seed"], "example": _example(data)},
        scripts=(file, "classifiers.js", "attack.js", "drawings.js", "explorer.js"),
        styles=("explorer.css",),
    )


def explorer_data(source: Source, dataset: Dataset) -> dict[str, Any] | None:
    """Everything that `assets/explorer.js` reads, for JSON.

    Of every model it is the training with the board's first seed. Pixels are bytes, in base64.
    Kept adversarial images are rounded to x + q ε / 127 within [0, 1], q away from 0: pixels that
    an attack moved as far as ε or to the end of the range stay exactly there.

    Args:
        source: The board, whose models are listed in the order of its rows.
        dataset: The clean images.

    Returns:
        None where this cannot be shown: other norms than ℓ∞, other boxes than [0, 1], tables, and
        images that are not those attacked, or not of 8 bits.
    """
    board, protocol, shape = source.board, source.protocol, dataset.image_shape
    if protocol is None or protocol.box != (0.0, 1.0) or board.about.norm != "linf":
        return None
    images = _images(board, dataset, protocol)
    if shape is None or images is None or board.rank_eps is None or not board.about.seeds:
        return None
    pixels = np.rint(images.x.numpy() * 255).astype(np.uint8)
    if not np.array_equal((pixels / 255).astype(np.float32), images.x.numpy()):
        return None
    measured = _Measured(source.results, images, board.about.seeds[0], board.rank_eps)
    return {
        "seed": measured.seed,
        "eps": board.rank_eps,
        "budgets": list(protocol.eps),
        "shape": list(shape),
        "classes": list(dataset.classes),
        "attacks": {
            name: {key: protocol.attacks.get(name, {}).get(key, usual) for key, usual in of.items()}
            for name, of in _ATTACKS.items()
        },
        "labels": images.y.tolist(),
        "images": _text(pixels),
        "models": [
            {
                "name": row.model.name,
                "family": row.model.family,
                "page": source.page_of(row.model.name).removeprefix(source.folder),
                **measured.of(row.model.name),
            }
            for row in board.rows
        ],
    }


class _Measured:
    """What is on record of one training of each model."""

    def __init__(self, results: Results, images: Split, seed: int, eps: float) -> None:
        self.seed, self._eps, self._results = seed, eps, results
        self._x, self._y = images.x.numpy(), images.y.numpy()
        self._records = [
            r
            for r in split(results.records, results.cards)[0]
            if r.task.model.seed == seed or r.task.kind == "attack"
        ]
        self._by_id = {record.id: record for record in self._records}
        self._distances = Distances(self._records, results.columns)

    def of(self, model: str) -> dict[str, Any]:
        """Weights, clean predictions, certified radii, distances and kept images of a model."""
        own = [r for r in self._records if r.task.model.name == model and r.status == "done"]
        own = [record for record in own if record.task.model.seed == self.seed]
        card = self._results.cards.get(model)
        weights = next((record.weights for record in own), None)
        attacks = at_ranking_budget(self._by_id, model, self.seed)
        nearest = self._distances.nearest(model, self.seed, "linf", len(self._y))
        return {
            "live": None if card is None else live_model(card, self.seed, weights),
            "clean": _clean(attacks, self._results.columns),
            "radius": self._radii(own),
            "nearest": _numbers(nearest, math.ceil, -_ROUNDING),
            "kept": self._kept(model, attacks),
        }

    def _radii(self, own: Sequence[Record]) -> list[float | None] | None:
        """The best certified radius of each image; None where there is none, or no proof at all."""
        proofs = [r for r in own if r.task.kind == "radii" and r.task.norm == "linf" and proves(r)]
        if not proofs:
            return None
        found = best(by_seed(proofs, self._results.columns).values()).radius
        return _numbers(np.where(found >= 0, found, np.inf), math.floor, 1e-6)

    def _kept(self, model: str, attacks: Sequence[Record]) -> dict[str, Any] | None:
        kept = self._results.adversarial(model, self.seed)
        if kept is None or not attacks:
            return None
        delta = kept.x_adv.astype(float) - self._x[kept.image]
        levels = np.abs(delta) / self._eps * _LEVELS
        rounded = np.sign(delta) * np.ceil(levels - 1e-3).clip(0, _LEVELS)
        worst = _worst_predictions([self._results.columns(record) for record in attacks])
        return {
            "image": kept.image.tolist(),
            "delta": _text(rounded.astype(np.int8)),
            "prediction": worst[kept.image].tolist(),
        }


def _example(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is on record of the first image, for a page without JavaScript."""
    said = [None if one["clean"] is None else one["clean"][0] for one in data["models"]]
    rows = [
        [
            text(one["name"]),
            text(None if clean is None else data["classes"][clean]),
            number(None if one["radius"] is None else one["radius"][0], ".5f"),
            number(one["nearest"][0], ".5f"),
        ]
        for one, clean in zip(data["models"], said, strict=True)
    ]
    heads = left("Model", "Says"), right("Certified radius", "Nearest adversarial image")
    return {
        "image": 0,
        "label": data["classes"][data["labels"][0]],
        "table": Table([*heads[0], *heads[1]], rows),
    }


def _images(board: Board, dataset: Dataset, protocol: Protocol) -> Split | None:
    """The images that were attacked; None where the data set has others."""
    about = board.about.data
    if dataset.sha256 != about.sha256 or protocol.selection.dataset != dataset.name:
        return None
    images = protocol.selection.images(dataset, about.images)
    return images if len(images.y) == about.images else None


def _clean(attacks: Sequence[Record], columns: Callable[[Record], Columns]) -> list[int] | None:
    """What the model says of the clean images; None where it was never attacked."""
    if not attacks:
        return None
    predictions: list[int] = _majority(columns(attacks[0])["clean_prediction"]).tolist()
    return predictions


def _worst_predictions(found: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.int64]:
    """(n,): what the model says of each image where it is broken with the smallest margin."""
    ranked = [broken_margins(of) for of in found]
    said = np.stack([_majority(of["adversarial_prediction"]) for of in found])
    worst: NDArray[np.int64] = said[np.argmin(ranked, axis=0), np.arange(said.shape[1])]
    return worst


def _majority(predictions: NDArray[Any]) -> NDArray[np.int64]:
    """(n,): the class that most passes give; of a deterministic model there is one pass."""
    passes = np.atleast_2d(predictions)
    return np.array([np.bincount(image).argmax() for image in passes.T], np.int64)


def _numbers(values: NDArray[Any], to: Callable[[float], int], slack: float) -> list[float | None]:
    """Five digits after the point, rounded so that they claim no more than is so; None for
    infinity. `slack`, in the last digit, is what floating point may have added."""
    return [to(float(v) * 1e5 + slack) / 1e5 if np.isfinite(v) else None for v in values]


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
