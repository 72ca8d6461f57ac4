"""What verification found: problems, notes, and how much was looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from qbench.errors import QbenchError

_MOST_OF_A_KIND = 20  # differences that are listed


@dataclass
class Verdict:
    """What verification found.

    Args:
        problems: One line each; empty when everything holds.
        notes: What could not be looked at, or differs within the stated tolerance.
        counts: How much was looked at, by what it is.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, found: Iterable[str]) -> None:
        """Note problems of one kind: the first of them, and how many more there are."""
        every = list(found)
        self.problems += every[:_MOST_OF_A_KIND]
        if len(every) > _MOST_OF_A_KIND:
            self.problems.append(f"... and {len(every) - _MOST_OF_A_KIND} more like it")

    def look(self, what: str, found: Iterable[str]) -> None:
        """Note each difference that a look finds, and whatever else a stranger's data provokes."""
        try:
            self.add(f"{what}: {problem}" for problem in found)
        except QbenchError as error:
            self.add([f"{what}: {error}"])
        except Exception as error:  # a stranger's model may raise whatever it likes
            self.add([f"{what}: {type(error).__name__}: {error}"])
