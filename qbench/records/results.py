"""What a report is made of: records of one kind of experiment, and all that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError
from qbench.records.columns import Columns
from qbench.records.identity import Identity
from qbench.records.record import Card, Environment, Record
from qbench.specs import Norm


@dataclass(frozen=True)
class Adversarial:
    """The worst adversarial images of one trained model at the ranking budget.

    Args:
        image: (k,) places among the protocol's images, ascending: those that were broken.
        x_adv: (k, features) float32.
    """

    image: NDArray[np.int16]
    x_adv: NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """A finished task: its record, per-image outcomes, and what later tasks read of it.

    Args:
        record: What came out.
        columns: One value an image, by column (`columns.OUTCOMES`).
        artifact: Weights as safetensors, or adversarial images `x_adv` as `.npz`.
        card: Facts about the target.
        environment: Versions that the task ran with.
    """

    record: Record
    columns: Columns | None = None
    artifact: bytes | None = None
    card: Card | None = None
    environment: Environment = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Records with their side data, wherever they are kept.

    Args:
        records: Ordered by identity; one a result.
        columns: Per-image outcomes of a record that has some.
        cards: Facts about each model.
        environments: Versions by the short hash that records name.
        commands: The commands that made the results, as they were typed.
        adversarial: The worst images of a model and seed, None where none are kept.
        superseded: In words, what is older than something here and left out.
    """

    records: tuple[Record, ...]
    columns: Callable[[Record], Columns]
    cards: Mapping[str, Card]
    environments: Mapping[str, Environment]
    commands: tuple[str, ...]
    adversarial: Callable[[str, int], Adversarial | None]
    superseded: tuple[str, ...] = ()


def of_board(results: Results, task: Identity, norm: str | None = None) -> Results:
    """The results under the protocol and on the images of a task that attacks or certifies.

    Args:
        results: Of several boards.
        task: What the board is about.
        norm: Of the attacks; None for those that there are.
    """

    def belongs(other: Identity) -> bool:
        images = other.kind == "training" or other.data.images == task.data.images
        same_data = other.data.sha256 == task.data.sha256
        attacks = other.kind in ("attack", "transfer", "challenge")
        same_norm = norm is None or not attacks or getattr(other, "norm", norm) == norm
        return images and same_data and same_norm and other.protocol == task.protocol

    return replace(results, records=tuple(r for r in results.records if belongs(r.task)))


def in_norm(results: Results, norm: str) -> Results:
    """Results with the attacks and certificates in one norm, and all that has none."""
    kept = tuple(r for r in results.records if getattr(r.task, "norm", norm) == norm)
    return replace(results, records=kept)


def attack_norm(results: Results) -> Norm | None:
    """The norm that attacks are bounded in; None without attacks.

    Raises:
        StoreError: There are several, whose numbers do not belong on one board.
    """
    norms = {record.task.norm for record in results.records if record.task.kind == "attack"}
    if len(norms) > 1:
        raise StoreError(
            f"attacks in {' and '.join(sorted(norms))}: each norm is a board of its own"
        )
    return next(iter(norms), None)


def current(records: Iterable[Record]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Records of the newest revision of each model, attack and certifier, and what is older.

    Returns:
        The records, ordered by identity; and in words what was left out.
    """
    found = sorted(records, key=lambda record: record.id)
    newest: dict[tuple[str, str], int] = {}
    for record in found:
        for kind, name, revision in _versions(record):
            newest[kind, name] = max(revision, newest.get((kind, name), 0))
    kept, older = [], set[str]()
    for record in found:
        old = [part for part in _versions(record) if part[2] < newest[part[0], part[1]]]
        if old:
            older.update(f"{kind} {name} revision {revision}" for kind, name, revision in old)
        else:
            kept.append(record)
    return tuple(kept), tuple(sorted(older))


def _versions(record: Record) -> Sequence[tuple[str, str, int]]:
    task = record.task
    parts = [("model", task.model.name, task.model.revision)]
    if task.kind == "transfer":
        parts.append(("model", task.source.name, task.source.revision))
    if task.kind in ("attack", "transfer"):
        parts.append(("attack", task.attack.name, task.attack.revision))
    if task.kind in ("lipschitz", "radii") and task.certifier is not None:
        parts.append(("certifier", task.certifier.name, task.certifier.revision))
    if task.kind in ("checks", "fresh"):
        parts.append((task.kind, "of models", task.revision))
    return parts
