"""Words and numbers of a leaderboard: formats, escapes and footnotes."""

from __future__ import annotations

import hashlib
import html
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from qbench.reporting.board import Finding
from qbench.reporting.scores import Note, Score

DASH = "—"
_LONGEST = 300
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
LONGEST_NAME = 26
_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


def one_line(text: str, longest: int | None = _LONGEST) -> str:
    """Text from outside on one line: control and invisible characters become blanks.

    What is longer than `longest` characters ends in an ellipsis.
    """
    visible = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)
    line = " ".join(visible.split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def escape(text: str) -> str:
    """Text from outside as one line that markdown shows literally, also inside a table."""
    line = _SPECIAL.sub(r"\\\1", one_line(text))
    line = "".join(_ENTITIES.get(character, character) for character in line)
    # GitHub links bare addresses; a name or a reason is no place for a link.
    return line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def escape_html(text: str) -> str:
    """Text from outside as one line inside an HTML element, where markdown is not read."""
    line = html.escape(one_line(text)).replace("@", "&#64;")
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
    return _NORMS.get(name, escape(name))


def spread(score: Score, digits: int = 3) -> str:
    """`mean ± std`, the mean alone where there is one value, a dash where there is none."""
    if score.mean is None:
        return DASH
    mean = f"{score.mean:.{digits}f}"
    return mean if score.std is None else f"{mean} ± {score.std:.{digits}f}"


def mean(score: Score, digits: int = 3) -> str:
    """The mean alone; a dash where there is none."""
    return DASH if score.mean is None else f"{score.mean:.{digits}f}"


def interval(lower: Score, upper: Score, digits: int = 3, *, spreads: bool = True) -> str:
    """`[lower, upper]`, means over seeds; a dash where there is neither.

    Args:
        lower, upper: The ends.
        digits: After the point.
        spreads: Whether to show the deviation of the upper end.
    """
    if lower.mean is None and upper.mean is None:
        return DASH
    shown = spread(upper, digits) if spreads else mean(upper, digits)
    return f"[{mean(lower, digits)}, {shown}]"


def at_least(least_norm: float) -> str:
    """The inputs a bound holds for, in words; rounded up, so that they stay true."""
    return f"‖x‖₂ ≥ {math.ceil(100 * least_norm) / 100:g}" if least_norm else "every x"


def p_value(p: float) -> str:
    """A p-value to two digits; below 0.0001 only that."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.995 else "1"


def badges(found: Sequence[Finding], seeds: Sequence[int]) -> str:
    """The flags of one model; those that not all of its seeds raise say how many do."""
    shown = [
        f"⚑ {one.flag}"
        + ("" if len(one.seeds) == len(seeds) else f" {len(one.seeds)}/{len(seeds)}")
        for one in found
    ]
    return ", ".join(shown) or DASH


def bold(shown: str, wanted: bool = True) -> str:
    """In bold, unless there is nothing to be seen."""
    return f"**{shown}**" if wanted and shown != DASH else shown


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """A markdown table; what is in it is escaped already."""
    return str(tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align))


def folded(summary: str, *parts: str) -> str:
    """Parts of a page behind a line that opens them; `summary` is plain text."""
    # Without the blank lines, markdown between the tags is not read.
    return "\n\n".join(
        [f"<details><summary>{escape_html(summary)}</summary>", *parts, "</details>"]
    )


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
