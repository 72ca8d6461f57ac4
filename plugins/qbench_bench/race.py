"""Contenders side by side: the best times of their calls, on one size of problem after another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from qbench.circuits.circuit import Circuit
from qbench.text import one_line
from qbench_bench.problem import Contender, Prepared, Problem, Result, disagreement, reference
from qbench_bench.report import Timing

Key = TypeVar("Key", bound=Hashable)

_TRY_S = 0.05  # for the choice of torch's threads
_GROWTH = 4.0  # of the time a sample for two more qubits, as far as it must be guessed


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
    """Seconds of the fastest call so far, how many calls, and what they took together."""

    seconds: float = math.inf
    repetitions: int = 0
    spent: float = 0.0


def best_times(
    calls: Mapping[Key, Callable[[], object]], spend_s: float, rounds: int
) -> dict[Key, Best]:
    """Time every call until `spend_s` seconds each are used, at least once a round.

    The calls take turns, so that all meet the same load of the machine. Within a round a call is
    repeated, because what ran before it still holds the caches, and other libraries' threads still
    spin.
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


class Race:
    """Times the contenders that are installed, agree with the reference, and are fast enough.

    Args:
        contenders: Who takes part.
        threads: The most that torch may use.

    `skipped` says, by name, why a contender takes no part, or no longer.
    """

    def __init__(self, contenders: Sequence[Contender], threads: int) -> None:
        self.contenders, self.threads = contenders, threads
        self.skipped = {c.name: why for c in contenders if (why := c.missing()) is not None}
        self._pace: dict[tuple[str, int], float] = {}  # seconds a sample by name and qubits

    def run(
        self,
        circuit: Circuit,
        batch: int,
        effort: Effort,
        step: Callable[[str], None] = lambda label: None,
    ) -> list[Timing]:
        """Time everyone on one size; `step` hears what comes next, once a contender and once more.

        Sizes should come in growing order: the time at one tells what to expect at the next.
        """
        label = f"{circuit.qubits} qubits, {batch} samples"
        torch.set_num_threads(1)  # while checking, no thread waits for another
        problem = Problem.random(circuit, batch)
        expected = reference(problem)
        calls: dict[tuple[str, str], Callable[[], object]] = {}
        ready: dict[str, tuple[int, int | None]] = {}  # samples and torch's threads
        slow = []
        for contender in self.contenders:
            name = contender.name
            step(f"{label}: checking {name}")
            if name in self.skipped:
                continue
            samples = self._samples(contender, circuit.qubits, batch, effort)
            if not samples:
                reason = f"one sample is expected to take more than {2 * effort.call_s:g} s"
                slow.append(Timing(name, circuit.qubits, batch, reason=reason))
                continue
            wanted = expected[0][:samples], expected[1][:samples]
            found = _prepared(contender, problem.first(samples), wanted)
            if isinstance(found, str):
                self.skipped[name] = f"{found} ({label})"
                continue
            threads = self._torch_threads(found) if contender.torch else None
            ready[name] = samples, threads
            calls[name, "forward"] = _with_threads(found.forward, threads)
            calls[name, "gradient"] = _with_threads(found.gradient, threads)
        step(f"{label}: timing")
        best = best_times(calls, effort.spend_s, effort.rounds)
        timings = []
        for name, (samples, threads) in ready.items():
            forward, gradient = best[name, "forward"], best[name, "gradient"]
            pace = gradient.seconds / samples
            before = self._pace.get((name, circuit.qubits), pace)
            self._pace[name, circuit.qubits] = min(pace, before)
            seconds = forward.seconds, gradient.seconds
            counts = forward.repetitions, gradient.repetitions
            timings.append(Timing(name, circuit.qubits, batch, samples, *seconds, counts, threads))
        return timings + slow

    def _torch_threads(self, prepared: Prepared) -> int:
        """One or all, whichever is faster: small steps lose more to waiting than they gain."""
        calls = {count: _with_threads(prepared.gradient, count) for count in (1, self.threads)}
        best = best_times(calls, _TRY_S, 1)
        torch.set_num_threads(1)
        return min(best, key=lambda count: best[count].seconds)

    def _samples(self, contender: Contender, qubits: int, batch: int, effort: Effort) -> int:
        """How many samples to time a contender on; 0 when even one takes too long."""
        if contender.whole:
            return batch
        known = [q for name, q in self._pace if name == contender.name and q <= qubits]
        if not known:
            return 1 if contender.loops else batch
        near = max(known)
        pace = self._pace[contender.name, near] * _GROWTH ** ((qubits - near) / 2)
        if pace > 2 * effort.call_s:
            return 0
        # A sample of a loop costs the same alone; a batch may profit from its size.
        seconds = effort.spend_s if contender.loops else effort.call_s
        return min(batch, max(1, int(seconds / pace)))


def _with_threads(call: Callable[[], object], threads: int | None) -> Callable[[], object]:
    def run() -> object:
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return call()

    return run


def _prepared(contender: Contender, problem: Problem, expected: Result) -> Prepared | str:
    """The contender's calls, run once and checked, or what is wrong with them."""
    try:
        prepared = contender.prepare(problem)
        wrong = disagreement(prepared.gradient(), expected)
        wrong = wrong or disagreement((prepared.forward(), expected[1]), expected)
    except Exception as error:  # whatever another library raises
        return one_line(f"{type(error).__name__}: {error}", 200)
    return wrong or prepared
