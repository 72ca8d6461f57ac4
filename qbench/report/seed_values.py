"""One value a seed, and why others have none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from qbench.records.statistics import mean_std


@dataclass(frozen=True, order=True)
class Note:
    """Why seeds have no value (status skipped, failed, missing), or not all of it (incomplete)."""

    status: str
    reason: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class SeedValues:
    """One value a seed, and what is to be said about the seeds that have none."""

    by_seed: tuple[tuple[int, float], ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The values in the order of seeds."""
        return tuple(value for _, value in self.by_seed)

    @cached_property
    def mean(self) -> float | None:
        """Mean over seeds; None without a value."""
        return mean_std(self.values)[0] if self.by_seed else None

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None with fewer than two values."""
        return mean_std(self.values)[1] if self.by_seed else None


def gather_notes(notes: Iterable[tuple[str, str, int]]) -> tuple[Note, ...]:
    """Notes of (status, reason, seed), one for all the seeds that share a reason."""
    gathered: dict[tuple[str, str], set[int]] = {}
    for status, reason, seed in notes:
        gathered.setdefault((status, reason), set()).add(seed)
    return tuple(
        Note(status, reason, tuple(sorted(seeds)))
        for (status, reason), seeds in sorted(gathered.items())
    )
