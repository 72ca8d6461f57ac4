"""What is measured of the authors' checkpoints, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weights = Literal["these weights", "other weights", "no checkpoint here"]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint without an attack, on the images of the authors' protocol.

    Args:
        file: Its file name.
        model: Name of our model that it was loaded into.
        penalty, epoch: λ and epoch as the file name says.
        precision: Of its numbers.
        cross_entropy: Mean over the images.
        accuracy: Share of the images classified correctly.
        bound: On the ℓ2 Lipschitz constant, as in Table I of the paper; None where it has none.
    """

    file: str
    model: str
    penalty: float | None
    epoch: int | None
    precision: str
    cross_entropy: float
    accuracy: float
    bound: float | None


@dataclass(frozen=True)
class Accuracy:
    """One checkpoint under the attacks of one protocol.

    Args:
        clean: Share of images classified correctly without an attack.
        attacked: Share of PGD's images classified correctly, the authors' count, by budget.
        robust: Share classified correctly both clean and under PGD, our count, by budget.
        worst: Share classified correctly clean and under every attack at the budget of the
            transfer: PGD and APGD-T on the checkpoint itself, and on every other one.
    """

    clean: float
    attacked: tuple[float, ...]
    robust: tuple[float, ...]
    worst: float


@dataclass(frozen=True)
class UnderProtocol:
    """Every checkpoint under one protocol.

    Args:
        protocol: Its name.
        split: `"train"` or `"test"`: which of the authors' images it takes.
        images: How many.
        boxed: Whether perturbed pixels stay in [0, 1].
        eps: Budgets of PGD in pixel units.
        transfer_eps: Budget of the transfer and of the worst case.
        accuracy: By checkpoint.
        transfer: Row i, column j: share that checkpoint j classifies correctly of the images that
            PGD made for checkpoint i.
    """

    protocol: str
    split: str
    images: int
    boxed: bool
    eps: tuple[float, ...]
    transfer_eps: float
    accuracy: tuple[Accuracy, ...]
    transfer: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """A row of Table I beside a checkpoint of that training.

    Args:
        row: Model and epoch.
        paper: The bound that the paper prints.
        file: The checkpoint's; None where there is none.
        bound: The checkpoint's, by the definition of the table.
        weights: Whether it is the paper's number to the digits printed.
    """

    row: str
    paper: float
    file: str | None
    bound: float | None
    weights: Weights


@dataclass(frozen=True)
class PublishedResults:
    """All that was measured; `dataclasses.asdict` of it can be written as JSON.

    Args:
        checkpoints: In the order of every other list.
        clean_images: How many images their cross-entropy and accuracy are of.
        protocols: The authors' and ours.
        table_1: Every row of the paper's Table I beside the checkpoints.
        others: Names of files among the checkpoints that name no model.
    """

    checkpoints: tuple[Checkpoint, ...]
    clean_images: int
    protocols: tuple[UnderProtocol, ...]
    table_1: tuple[Comparison, ...]
    others: tuple[str, ...]
