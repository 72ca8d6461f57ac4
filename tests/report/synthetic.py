"""Synthetic results: records and per-image outcomes, and what is asked of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qbench.records.identity import (
    AttackId,
    ChecksId,
    Data,
    Engine,
    FreshId,
    LipschitzId,
    Method,
    Model,
    Protocol,
    RadiiId,
    TrainingId,
    TransferId,
    Version,
)
from qbench.records.record import (
    AccuracyMetrics,
    Card,
    ChecksMetrics,
    Cost,
    FreshMetrics,
    RadiiMetrics,
    Recipe,
    Record,
)
from qbench.records.results import Adversarial, Results
from qbench.report.board import Board, Row
from qbench.report.collect import collect

Columns = dict[str, NDArray[Any]]
CLASS_NAMES = ("-", "+", "⊢", "⊣")


@dataclass(frozen=True)
class Fake:
    """A model of the synthetic run; `strength` is the ε at which half of the images fall."""

    name: str
    family: Literal["quantum", "classical"]
    parameters: int
    strength: float
    epochs: int
    bound: float | None = None
    scope: Literal["vector", "score"] = "score"
    variant_of: str | None = None
    stochastic: bool = False


QUANTUM = Fake("qubit", "quantum", 3, 0.1, 1)
CLASSICAL = Fake("line", "classical", 5, 0.1, 1)


def bits(pattern: str) -> np.ndarray[Any, Any]:
    """`"110"` as correct, correct, wrong."""
    return np.array([character == "1" for character in pattern])


def sha(*parts: object) -> str:
    """A SHA-256 that stands for whatever the parts stand for."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def glyph(label: int, shift: float = 0.0, width: float = 1.3) -> NDArray[np.float32]:
    """(16, 16) in [0, 1]: a blurred glyph of one of the four classes."""
    rows, columns = np.mgrid[0:16, 0:16] - 7.5 - shift
    horizontal = np.exp(-((rows / width) ** 2))
    vertical = np.exp(-((columns / width) ** 2))
    half = {0: np.full((16, 16), True), 1: np.full((16, 16), True), 2: columns > 0, 3: columns < 0}
    image = np.where(half[label], horizontal, 0.0)
    return np.clip(image if label == 0 else np.maximum(image, vertical), 0, 1).astype(np.float32)


PROTOCOL = Protocol(name="glyphs-linf-v1", sha256=sha("protocol"))


@dataclass
class Run:
    """Records of a run, their per-image outcomes by id, and the adversarial images kept."""

    n: int = 200
    records: list[Record] = field(default_factory=list)
    columns: dict[str, Columns] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"python": "3.11.7"})
    commands: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    kept: dict[tuple[str, int], Adversarial] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """What a store would give."""
        return Results(
            records=tuple(self.records),
            columns=lambda record: self.columns[record.id],
            cards=self.cards,
            environments={"e": self.environment},
            commands=self.commands,
            adversarial=lambda model, seed: self.kept.get((model, seed)),
            superseded=self.superseded,
        )

    def data(self, n: int | None = None) -> Data:
        return Data(name="glyphs", sha256=sha("data"), split="test", images=n or self.n)

    def add(
        self,
        kind: str,
        target: Fake,
        seed: int,
        *,
        attack: str | None = None,
        eps: Any = None,
        source: Fake | None = None,
        certifier: str | None = None,
        norm: str = "linf",
        engine: Engine | None = None,
        columns: Columns | None = None,
        task: Mapping[str, Any] = {},
        **parts: Any,
    ) -> Record:
        """A record with everything that does not matter filled in."""
        common = {
            "protocol": PROTOCOL,
            "data": self.data(),
            "model": Model(name=target.name, seed=seed),
            **task,
        }
        method = None if certifier is None else Method(name=certifier)
        identity: Any
        if kind == "training":
            identity = TrainingId(**common)
        elif kind == "checks":
            identity = ChecksId(**common, revision=1, engine=engine)
        elif kind == "lipschitz":
            identity = LipschitzId(**common, certifier=method)
        elif kind == "radii":
            budgets = list(eps or (0.01, 0.1))
            identity = RadiiId(**common, certifier=method, norm=norm, eps=budgets, engine=engine)
        else:
            way: dict[str, Any] = {"attack": _attack(str(attack), eps), "norm": "linf", "eps": eps}
            if source is not None:
                assert kind == "transfer"
                way["source"] = Version(name=source.name)
            if kind == "fresh":
                new = {"images": 400, "images_sha256": sha("fresh")}
                identity = FreshId(**common, **way, revision=2, **new)
            else:
                made = TransferId if kind == "transfer" else AttackId
                identity = made(**(common | way | {"engine": engine} | dict(task)))
        status = parts.setdefault("status", "done")
        if kind in ("attack", "transfer"):
            parts.setdefault("label", attack)
        given: dict[str, Any] = {
            "weights": sha(target.name, seed) if status == "done" else None,
            "cost": _cost(attack, self.n),
            "environment": "e",
            "outcomes": None if columns is None else sha("outcomes"),
        }
        record = Record(task=identity, **(given | parts))
        self.records.append(record)
        for model in (target, source):
            if model is not None:
                self.cards.setdefault(model.name, card(model))
        if columns is not None:
            self.columns[record.id] = columns
        return record

    def attacked(
        self,
        target: Fake,
        seed: int,
        eps: float,
        clean: NDArray[np.bool_],
        adversarial: NDArray[np.bool_],
        attack: str = "pgd",
        source: Fake | None = None,
        **parts: Any,
    ) -> Record:
        """An attack or a transfer of given outcomes, true where correct; rows are passes."""
        label = (np.arange(self.n) % 4).astype(np.int16)
        clean, adversarial = np.asarray(clean), np.asarray(adversarial)
        columns = {
            "label": label,
            "clean_prediction": np.where(clean, label, (label + 1) % 4).astype(np.int16),
            "adversarial_prediction": np.where(adversarial, label, (label + 1) % 4).astype(
                np.int16
            ),
            "clean_margin": np.where(clean, 1, -1).astype(np.float16),
            "adversarial_margin": np.where(adversarial, 1, -1).astype(np.float16),
        }
        if source is None:
            columns["linf"] = np.full(self.n, eps, dtype=np.float32)
            columns["l2"] = np.full(self.n, 16 * eps, dtype=np.float32)
        return self.add(
            "attack" if source is None else "transfer",
            target,
            seed,
            attack=attack,
            eps=eps,
            source=source,
            columns=columns,
            metrics=AccuracyMetrics(
                clean_accuracy=float(clean.mean()),
                adversarial_accuracy=float(adversarial.mean()),
                robust_accuracy=float((clean & adversarial).mean()),
            ),
            **parts,
        )

    def certified(
        self,
        target: Fake,
        seed: int,
        radius: Sequence[float] | NDArray[Any],
        correct: NDArray[np.bool_] | None = None,
        *,
        certifier: str = "proof",
        norm: str = "linf",
        eps: Sequence[float] = (0.01, 0.1),
        smoothed: bool = False,
        confidence: float = 1.0,
        **parts: Any,
    ) -> Record:
        """Certificates of given radii; misclassified images have none unless smoothed."""
        label = (np.arange(self.n) % 4).astype(np.int16)
        right = np.ones(self.n, dtype=np.bool_) if correct is None else correct
        columns = {
            "label": label,
            "prediction": np.where(right, label, (label + 1) % 4).astype(np.int16),
            "radius": np.asarray(radius, dtype=np.float64),
        }
        counted = np.where(right | smoothed, columns["radius"], -1.0)
        return self.add(
            "radii",
            target,
            seed,
            certifier=certifier,
            norm=norm,
            eps=eps,
            columns=columns,
            metrics=RadiiMetrics(
                clean_accuracy=float(right.mean()),
                certified_accuracy=[float((counted >= e).mean()) for e in eps],
                confidence=confidence,
                smoothed=smoothed,
                detail=parts.pop("detail", "σ = 0.25" if smoothed else None),
                source=parts.pop("reference", f"Source of {certifier}, Eq. 1"),
            ),
            **parts,
        )

    def checked(self, target: Fake, seed: int, **values: float) -> Record:
        """Checks of a model; those not given find nothing to doubt."""
        measured = {"large_eps": 0.0, "flat_gradients": 0.0, "unstable_outputs": 0.0} | values
        metrics = ChecksMetrics(images=min(self.n, 100), chance=0.25, values=measured)
        return self.add("checks", target, seed, metrics=metrics)

    def drawn_afresh(
        self, target: Fake, seed: int, clean: float, robust: float, new: float, new_robust: float
    ) -> Record:
        """Accuracies on the run's images, and on a thousand new ones."""
        metrics = FreshMetrics(
            clean_accuracy=new,
            robust_accuracy=new_robust,
            frozen_clean_accuracy=clean,
            frozen_robust_accuracy=robust,
        )
        return self.add("fresh", target, seed, attack="pgd", eps=0.1, metrics=metrics)

    def only(self, *models: Fake) -> Run:
        """The part of a run that a run of some of its models would have made."""
        names = {model.name for model in models}
        kept = [
            record
            for record in self.records
            if record.task.model.name in names
            and getattr(record.task, "source", record.task.model).name in names
        ]
        cards = {name: card for name, card in self.cards.items() if name in names}
        return replace(self, records=kept, cards=cards)


def card(model: Fake) -> Card:
    return Card(
        name=model.name,
        family=model.family,
        structure=f"synthetic-{model.family}",
        description="made up",
        plugin=f"qbench_{model.family}",
        version="0.1.0",
        parameters=model.parameters,
        recipe=Recipe(
            epochs=model.epochs,
            learning_rate=0.001,
            batch_size=50,
            adversarial_eps=0.1 if model.variant_of else 0.0,
        ),
        variant_of=model.variant_of,
        stochastic=model.stochastic,
    )


def keep_worst(run: Run, eps: float = 0.1) -> None:
    """Keep adversarial images of what is broken at a budget, each pixel moved by ε."""
    broken: dict[tuple[str, int], set[int]] = {}
    for record in run.records:
        if record.task.kind == "attack" and record.status == "done" and record.task.eps == eps:
            columns = run.columns[record.id]
            wrong = np.atleast_2d(columns["adversarial_prediction"]) != columns["label"]
            right = np.atleast_2d(columns["clean_prediction"]) == columns["label"]
            images = np.flatnonzero(wrong.all(0) & right.all(0)).tolist()
            where = record.task.model.name, record.task.model.seed
            broken.setdefault(where, set()).update(images)
    for (name, seed), images in broken.items():
        places = np.array(sorted(images), dtype=np.int16)
        x = np.stack([glyph(int(image) % 4).ravel() for image in range(run.n)])[places]
        moved = np.clip(x + np.where(x > 0.5, -eps, eps), 0, 1).astype(np.float32)
        run.kept[name, seed] = Adversarial(places, moved)


def _attack(label: str, eps: float | None) -> Method:
    name, *given = label.split(":")
    params: dict[str, int | float | bool | str | None] = {"steps": 40, "restarts": 1}
    params |= {
        key: int(value) if value.isdigit() else value
        for key, _, value in (part.partition("=") for part in given)
    }
    if eps is not None:
        params["step_size"] = 2.5 * eps / 40
    return Method(name=re.sub("[^A-Za-z0-9._-]+", "-", name), params=params)


def _cost(label: str | None, n: int) -> Cost:
    gradient = 0 if label is None or label.startswith(("square", "art-hop")) else 40 * n
    return Cost(wall_s=1.0, forward=41 * n, gradient=gradient)


def board_of(run: Run, **options: Any) -> Board:
    return collect(run.results, **options)


def row_of(board: Board, model: Fake) -> Row:
    return next(row for row in board.rows if row.model.name == model.name)
