"""Images that others sent: whose they are, and what they broke that no attack did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qbench.records.columns import Columns
from qbench.records.record import Record
from qbench.records.worst import broken, broken_alone


@dataclass(frozen=True)
class Challenge:
    """Images that somebody sent to break one trained model.

    `sent` counts images, `broke` those that break the model, and `alone` those of them whose
    original is broken by no attack on the model, and by no image made for another one, at the same
    budget.
    """

    model: str
    seed: int
    eps: float
    sender: str
    sent: int
    broke: int
    alone: int


def challenges(
    records: Sequence[Record], columns: Callable[[Record], Columns]
) -> tuple[Challenge, ...]:
    """Every file that was sent, by model, seed and budget.

    Args:
        records: Of exact scores.
        columns: Per-image outcomes of a record.
    """
    found = []
    for record in records:
        task = record.task
        if task.kind != "challenge" or record.status != "done":
            continue
        outcome = columns(record)
        others = [columns(one) for one in records if _attacks_the_same(one, record)]
        found.append(
            Challenge(
                model=task.model.name,
                seed=task.model.seed,
                eps=task.eps,
                sender=task.sender,
                # An image that was sent is never its original, see `evaluation.sent.check`.
                sent=int((outcome["linf"] > 0).sum()),
                broke=int(broken(outcome).sum()),
                alone=int(broken_alone(outcome, others).sum()),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.model, one.seed, one.eps, one.sender)))


def _attacks_the_same(record: Record, challenge: Record) -> bool:
    """Whether a record is an attack on the same trained model, or a transfer to it, at its ε."""
    task, about = record.task, challenge.task
    return (
        task.kind in ("attack", "transfer")
        and record.status == "done"
        and task.model == about.model
        and task.eps == getattr(about, "eps", None)
    )
