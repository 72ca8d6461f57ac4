"""One run of the benchmark: what is measured, in which order, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from qbench.benchmarks.contenders import contenders as everyone
from qbench.benchmarks.efficiency import measure_efficiency
from qbench.benchmarks.machine import this_machine
from qbench.benchmarks.problem import Contender
from qbench.benchmarks.race import Race
from qbench.benchmarks.report import Report
from qbench.benchmarks.scaling import measure_scaling
from qbench.benchmarks.timing import Effort
from qbench.circuits.circuit import Circuit
from qbench.errors import UsageError

Advance = Callable[[float, str], None]

_USUAL = Effort(spend_s=0.25, call_s=1.0, rounds=3)
_FULL = 64  # samples: no lane is empty, on one thread or two


@dataclass(frozen=True)
class Settings:
    """The sizes, and how much time they get.

    Sizes form a cross: every number of qubits with `batch` samples, every batch size with
    `at_qubits` qubits.

    Args:
        qubits, batches, layers: Sizes.
        effort: Time for each contender, size and kind (forward, gradient).
        race_s: Time for all of that; then slow contenders are left out of further sizes.
        amplitudes: Numbers of qubits whose cost an amplitude is compared.
        factors: By how much images, steps and models grow; empty to leave that out.
        command: How a user repeats the run.

    Raises:
        UsageError: A size that no circuit can have.
    """

    qubits: tuple[int, ...] = (4, 6, 8, 10, 12, 14, 16)
    batches: tuple[int, ...] = (1, 16, 50, 256)
    layers: int = 32
    effort: Effort = _USUAL
    race_s: float = 180.0
    amplitudes: tuple[int, ...] = (8, 10, 12, 14)
    factors: tuple[int, ...] = (1, 2, 4, 8, 16)
    command: str = "qbench bench"

    def __post_init__(self) -> None:
        if not self.qubits or not all(2 <= n <= 20 for n in self.qubits):
            raise UsageError(f"qubits must be between 2 and 20, got {list(self.qubits)}")
        if not self.batches or min(self.batches) < 1:
            raise UsageError(f"batch sizes must be at least 1, got {list(self.batches)}")

    @classmethod
    def quick(cls) -> Settings:
        """Fewer sizes and repetitions: a first look in about half a minute."""
        return cls(
            qubits=(4, 8, 12),
            batches=(1, 50),
            effort=Effort(spend_s=0.06, call_s=0.3, rounds=2),
            race_s=20.0,
            amplitudes=(8, 10, 12),
            factors=(1, 4, 16),
            command="qbench bench --quick",
        )

    @property
    def batch(self) -> int:
        """The batch size that is combined with every number of qubits: 50, if it is there."""
        return 50 if 50 in self.batches else max(self.batches)

    @property
    def at_qubits(self) -> int:
        """The number of qubits that is combined with every batch size: 8, or what is nearest."""
        return min(self.qubits, key=lambda n: (abs(n - 8), n))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Every (qubits, batch), qubits growing, then batches growing."""
        column = [(n, self.batch) for n in sorted(set(self.qubits))]
        row = [(self.at_qubits, b) for b in sorted(set(self.batches)) if b != self.batch]
        return (*column, *row)

    def circuit(self, qubits: int) -> Circuit:
        """The circuit of one size, measured on its first four wires as the models are."""
        return Circuit(qubits, self.layers, tuple(range(min(4, qubits))))


def measure(
    settings: Settings,
    threads: int,
    advance: Advance = lambda amount, label: None,
    contenders: Sequence[Contender] | None = None,
) -> Report:
    """Run the benchmark.

    Args:
        settings: What to measure.
        threads: For the default engine and for torch.
        advance: Told how much of `steps(...)` is done, and what comes next.
        contenders: Who takes part; the default engine first. All that are known when absent.
    """
    machine = this_machine(threads)
    taking_part = everyone(threads) if contenders is None else tuple(contenders)
    race = Race(taking_part, threads)
    counts, timings, started = tuple(sorted({1, threads})), [], time.monotonic()

    def step(label: str) -> None:
        advance(1, label)

    with _torch_threads(threads):
        for qubits, batch in settings.sizes:
            central = (qubits, batch) == (settings.at_qubits, settings.batch)
            late = time.monotonic() - started > settings.race_s
            effort = _less(settings.effort) if late else settings.effort
            effort = _more(effort) if central else effort
            timings += race.run(settings.circuit(qubits), batch, effort, step)
        # What follows belongs to our engine, which has threads of its own.
        torch.set_num_threads(1)
        share = settings.effort.spend_s * 2, settings.effort.rounds * 2
        step("arithmetic")
        centre = (settings.circuit(settings.at_qubits),)
        batches = tuple(sorted({settings.batch, max(settings.batches)}))
        efficiency = measure_efficiency(centre, batches, counts, *share)
        step("cost of an amplitude")
        growing = tuple(settings.circuit(n) for n in settings.amplitudes)
        amplitudes = measure_efficiency(growing, (_FULL,), counts, *share)
        scaling = measure_scaling(settings.factors, *share, step) if settings.factors else ()
    return Report(
        machine=machine,
        layers=settings.layers,
        command=settings.command,
        contenders={contender.name: contender.how for contender in taking_part},
        skipped=race.skipped,
        timings=tuple(timings),
        efficiency=efficiency,
        amplitudes=amplitudes,
        scaling=scaling,
    )


def _less(effort: Effort) -> Effort:
    """When time is up, on a slow or busy machine: only what is quick, slow contenders left out."""
    return Effort(effort.spend_s / 2, effort.spend_s / 4, effort.rounds)


def _more(effort: Effort) -> Effort:
    """For the size that ratios are quoted for: whole batches where that is possible at all."""
    return Effort(4 * effort.spend_s, 10 * effort.call_s, 2 * effort.rounds)


def steps(settings: Settings, contenders: int) -> int:
    """How much `measure` advances by in all."""
    return len(settings.sizes) * (contenders + 1) + 2 + (3 if settings.factors else 0)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
