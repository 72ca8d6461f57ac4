"""Which models have a rank: those that every required attack was tried on, and nothing blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from qbench.records.record import Record
from qbench.report.board import Row
from qbench.report.flags import Flag


def obstacles(
    own: Sequence[Record],
    flags: Iterable[Flag],
    attacks: Sequence[str],
    eps: float | None,
    seeds: Sequence[int],
) -> tuple[str, ...]:
    """Why a model can have no rank, a line each; empty where it has one.

    An attack that failed never helps: a model is ranked when every attack of the board has a
    result at the ranking budget, for each of its seeds, and its checks are done. An attack that
    says of itself that it cannot be done, as one by gradients does of a model without, is not
    required, so long as another one was done.

    Args:
        own: The model's records of exact scores.
        flags: What was raised for it.
        attacks: Labels of the attacks of the board.
        eps: The ranking budget; None where nothing was attacked.
        seeds: The model's.
    """
    found = [f"{flag.name}: {_numbers(flag)}" for flag in flags if flag.blocking]
    if eps is None:
        return ()
    status = {
        (str(record.label), record.task.model.seed): record.status
        for record in own
        if record.task.kind == "attack" and record.task.eps == eps
    }
    for attack in attacks:
        lacking = [s for s in seeds if status.get((attack, s), "missing") in ("missing", "failed")]
        if lacking:
            found.append(f"no result of {attack}{_of(lacking, seeds)}")
    without = [s for s in seeds if "done" not in {status.get((attack, s)) for attack in attacks}]
    if without and not found:
        found.append(f"no attack could be done{_of(without, seeds)}")
    unchecked = sorted(
        record.task.model.seed
        for record in own
        if record.task.kind == "checks" and record.status != "done"
    )
    if unchecked:
        found.append(f"its checks could not be done{_of(unchecked, seeds)}")
    return tuple(found)


def ranked(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows by worst case, then by clean accuracy; those that can have no rank last, without one."""

    def order(row: Row) -> tuple[bool, bool, float, float, str]:
        worst, clean = row.worst.mean, row.clean.mean
        bad = bool(row.obstacles)
        return (worst is None, bad, -(worst or 0.0), -(clean or 0.0), row.model.name)

    return tuple(
        replace(row, rank=None if row.worst.mean is None or row.obstacles else place)
        for place, row in enumerate(sorted(rows, key=order), start=1)
    )


def _numbers(flag: Flag) -> str:
    return ", ".join(f"{value:.2f} ({what})" for what, value in flag.numbers)


def _of(some: Sequence[int], seeds: Sequence[int]) -> str:
    return "" if list(some) == list(seeds) else f" for seed {', '.join(map(str, some))}"
