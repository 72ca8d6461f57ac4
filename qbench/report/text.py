"""Words and numbers of a leaderboard: formats, escapes and footnotes."""

from __future__ import annotations

import hashlib
import html
import math
import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from qbench.report.seed_values import Note, SeedValues
from qbench.text import one_line

DASH = "—"
LONGEST_NAME = 26
_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


def escape(text: str, longest: int | None = 300) -> str:
    """Text from outside as one line that markdown shows literally, also inside a table."""
    return escape_html(_SPECIAL.sub(r"\\\1", one_line(text, longest)), longest=None)


def escape_html(text: str, longest: int | None = 300) -> str:
    """Text from outside as one line inside an HTML element, where markdown is not read."""
    line = html.escape(one_line(text, longest), quote=False)
    line = line.replace("@", "&#64;").replace("$", "&#36;")
    # GitHub links bare addresses; a name or a reason is no place for a link.
    return line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def slug(label: str) -> str:
    """A label as a part of a file's name; different labels give different names."""
    if _SLUG.fullmatch(label) and len(label) <= 60:
        return label
    safe = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")[:40]
    return f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:8]}".lstrip("-")


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits its place, cut in the middle: names of one series differ at the end."""
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def norm(name: str) -> str:
    """A norm in mathematical notation."""
    return _NORMS.get(name, name)


def spread(values: SeedValues, digits: int = 3) -> str:
    """`mean ± std`, the mean alone where there is one value, a dash where there is none."""
    if values.mean is None:
        return DASH
    mean = f"{values.mean:.{digits}f}"
    return mean if values.std is None else f"{mean} ± {values.std:.{digits}f}"


def mean(values: SeedValues, digits: int = 3) -> str:
    """The mean alone; a dash where there is none."""
    return DASH if values.mean is None else f"{values.mean:.{digits}f}"


def at_least(least_norm: float) -> str:
    """The inputs a bound holds for, in words; rounded up, so that they stay true."""
    return f"‖x‖₂ ≥ {math.ceil(100 * least_norm) / 100:g}" if least_norm else "every x"


def p_value(p: float) -> str:
    """A p-value to two digits; below 0.0001 only that."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.995 else "1"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """A markdown table; what is in it is escaped already."""
    return str(tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align))


def listed(numbers: Sequence[int]) -> str:
    """Seeds in words, runs of three or more as a range: `0 to 4, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


class Footnotes:
    """Numbered notes of one page; the same words get the same number.

    Args:
        seeds: Every seed of the run.
        plain: For a terminal instead of markdown.
    """

    def __init__(self, seeds: Sequence[int], plain: bool = False) -> None:
        self._seeds = tuple(seeds)
        self._plain = plain
        self._numbers: dict[str, int] = {}

    def mark(self, shown: str, notes: Iterable[Note]) -> str:
        """`shown` with the numbers of its notes."""
        numbers = sorted({self._number(self._words(note)) for note in notes})
        if not numbers:
            return shown
        marks = ", ".join(map(str, numbers))
        return f"{shown} [{marks}]" if self._plain else f"{shown} <sup>{marks}</sup>"

    def lines(self) -> list[str]:
        """The notes as a numbered list."""
        return [f"{number}. {words}" for words, number in self._numbers.items()]

    def _number(self, words: str) -> int:
        return self._numbers.setdefault(words, len(self._numbers) + 1)

    def _words(self, note: Note) -> str:
        every = note.seeds == self._seeds
        which = "every seed" if every else f"seed {listed(note.seeds)}"
        reason = one_line(note.reason) if self._plain else escape(note.reason)
        return f"{note.status} ({which}): {reason}"
