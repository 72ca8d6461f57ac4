"""Typed tables: what a cell holds, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.report.seed_values import Note, SeedValues
from qbench.report.text import DASH, mean, spread


@dataclass(frozen=True)
class Cell:
    """A cell: in plain characters, its kind, and what is to be said about it.

    `text` may come from outside and is escaped when it is drawn; what is long is cut, unless it is
    wanted `whole`.
    """

    kind: Literal["text", "number", "score", "interval", "flags"]
    shown: str
    bold: bool = False
    notes: tuple[Note, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Column:
    """A column's head, words that may come from outside, and the side its cells stand on."""

    head: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Table:
    """Cells in rows; `title` names the table where it is folded or stands beside others."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


def left(*heads: str) -> list[Column]:
    """Columns of words."""
    return [Column(head, "left") for head in heads]


def right(*heads: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(head) for head in heads]


def text(
    value: str | None, *, bold: bool = False, notes: Sequence[Note] = (), whole: bool = False
) -> Cell:
    """Words; a dash where there are none."""
    return Cell("text", value or DASH, bold, tuple(notes), whole)


def number(value: float | None, form: str = "g") -> Cell:
    """One number and how it is written, a minus sign as one; a dash where there is none."""
    return Cell("number", DASH if value is None else f"{value:{form}}".replace("-", "−"))


def score(
    values: SeedValues | None,
    digits: int = 3,
    *,
    std: bool = True,
    bold: bool = False,
    prefix: str = "",
    notes: bool = True,
) -> Cell:
    """A value of each seed as `mean ± std`, or the mean alone; with why seeds have none."""
    values = values or SeedValues()
    shown = (spread if std else mean)(values, digits)
    shown = shown if shown == DASH else prefix + shown
    return Cell("score", shown, bold, values.notes if notes else ())


def interval(
    lower: SeedValues,
    upper: SeedValues,
    *,
    std: bool = True,
    bold: bool = False,
    notes: bool = True,
) -> Cell:
    """Certified accuracy and worst case, between which the truth lies: `[0.933, 0.937 ± 0.010]`."""
    ends = mean(lower), (spread if std else mean)(upper)
    shown = DASH if ends == (DASH, DASH) else f"[{', '.join(ends)}]"
    return Cell("interval", shown, bold, (*upper.notes, *lower.notes) if notes else ())


def flag_count(count: int) -> Cell:
    """How many flags a model has; nothing where there is none."""
    return Cell("flags", f"⚑ {count}" if count else "")
