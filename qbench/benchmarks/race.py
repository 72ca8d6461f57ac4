"""Contenders side by side, on one size of problem after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from qbench.benchmarks.problem import (
    Contender,
    Prepared,
    Problem,
    Result,
    disagreement,
    reference,
)
from qbench.benchmarks.report import Timing
from qbench.benchmarks.timing import Effort, best_times
from qbench.circuits.circuit import Circuit

_TRY_S = 0.05  # for the choice of torch's threads
_GROWTH = 4.0  # of the time a sample for two more qubits, as far as it must be guessed


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
        self._pace: dict[tuple[str, int], float] = {}

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
        torch.set_num_threads(1)  # waits for no one while checking
        problem = Problem.random(circuit, batch)
        expected = reference(problem)
        ready: dict[str, tuple[Prepared, int, int | None]] = {}
        slow = []
        for contender in self.contenders:
            step(f"{label}: checking {contender.name}")
            if contender.name in self.skipped:
                continue
            samples = self._samples(contender, circuit.qubits, batch, effort)
            if not samples:
                reason = f"one sample is expected to take more than {2 * effort.call_s:g} s"
                slow.append(Timing(contender.name, circuit.qubits, batch, reason=reason))
                continue
            wanted = expected[0][:samples], expected[1][:samples]
            found = _prepared(contender, problem.first(samples), wanted)
            if isinstance(found, str):
                self.skipped[contender.name] = f"{found} ({label})"
            else:
                threads = self._torch_threads(found) if contender.torch else None
                ready[contender.name] = found, samples, threads
        step(f"{label}: timing")
        calls = {
            (name, kind): _with_threads(getattr(prepared, kind), threads)
            for name, (prepared, _, threads) in ready.items()
            for kind in ("forward", "gradient")
        }
        best = best_times(calls, effort.spend_s, effort.rounds)
        timings = []
        for name, (_, samples, threads) in ready.items():
            forward, gradient = best[name, "forward"], best[name, "gradient"]
            pace = gradient.seconds / samples
            before = self._pace.get((name, circuit.qubits), pace)
            self._pace[name, circuit.qubits] = min(pace, before)
            repetitions = forward.repetitions, gradient.repetitions
            times = forward.seconds, gradient.seconds
            size = circuit.qubits, batch, samples
            timings.append(Timing(name, *size, *times, repetitions, threads))
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
        return min(
            batch, max(1, int((effort.spend_s if contender.loops else effort.call_s) / pace))
        )


def _with_threads(call: Callable[[], object], threads: int | None) -> Callable[[], object]:
    if threads is None:
        return call

    def run() -> object:
        if torch.get_num_threads() != threads:
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
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return wrong or prepared
