"""Words and numbers of a leaderboard: formats, escapes and footnotes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from qbench.reporting.board import Note, Score

DASH = "—"
_LONGEST = 300
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


def one_line(text: str) -> str:
    """Text from outside on one line: control and invisible characters become blanks.

    What is longer than 300 characters ends in an ellipsis.
    """
    visible = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)
    line = " ".join(visible.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def escape(text: str) -> str:
    """Text from outside as one line that markdown shows literally, also inside a table."""
    line = _SPECIAL.sub(r"\\\1", one_line(text))
    line = "".join(_ENTITIES.get(character, character) for character in line)
    # GitHub links bare addresses; a name or a reason is no place for a link.
    return line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def norm(name: str) -> str:
    """A norm in mathematical notation."""
    return _NORMS.get(name, escape(name))


def spread(score: Score, digits: int = 3) -> str:
    """`mean ± std`, the mean alone where there is one value, a dash where there is none."""
    if score.mean is None:
        return DASH
    mean = f"{score.mean:.{digits}f}"
    return mean if score.std is None else f"{mean} ± {score.std:.{digits}f}"


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
