"""Best times of several calls, taken in turn so that all meet the same load of the machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Effort:
    """How much time one size gets.

    Args:
        spend_s: Seconds of repetitions of a call.
        call_s: How long one call may be expected to take. Who needs longer for a batch is timed on
            as many of its samples as fit; who needs twice that for a single one is left out.
        rounds: In how many turns the repetitions are made.
    """

    spend_s: float
    call_s: float
    rounds: int


@dataclass
class Best:
    """Seconds of the fastest call so far, and of how many."""

    seconds: float = math.inf
    repetitions: int = 0
    spent: float = 0.0


def best_times(
    calls: Mapping[Key, Callable[[], object]], spend_s: float, rounds: int
) -> dict[Key, Best]:
    """Time every call until `spend_s` seconds each are used, at least once a round.

    Within a round a call is repeated, because what ran before it still holds the caches, and other
    libraries' threads still spin.
    """
    best = {key: Best() for key in calls}
    for turn in range(1, rounds + 1):
        for key, call in calls.items():
            mine = best[key]
            while mine.repetitions < turn or mine.spent < spend_s * turn / rounds:
                started = time.perf_counter()
                call()
                seconds = time.perf_counter() - started
                mine.seconds = min(mine.seconds, seconds)
                mine.repetitions += 1
                mine.spent += seconds
    return best
