"""One run of the benchmark: what is measured, in which order, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

import qbench
from qbench.circuits.circuit import Circuit
from qbench.datasets.base import Split
from qbench.errors import UsageError
from qbench_bench.arithmetic import measure_efficiency
from qbench_bench.certifying import MODELS, time_certifiers, time_growth
from qbench_bench.problem import Contender
from qbench_bench.race import Effort, Race, best_times
from qbench_bench.report import Machine, Report, Scaling

_USUAL = Effort(spend_s=0.25, call_s=1.0, rounds=3)
_FULL = 64  # samples: no lane is empty, on one thread or two
_MODEL, _SEEDS = "reup", 5  # of the shipped zoo
_EPS = 0.1
_IMAGES, _STEPS = 128, 20  # what stays fixed while something else grows


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
        certified: How many images every certifier gets; 0 to leave that out.
        growth: Whether a certifier is timed while its circuits grow.
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
    certified: int = 100
    growth: bool = True
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
            certified=10,
            growth=False,
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
    contenders: Sequence[Contender],
    advance: Callable[[float, str], None] = lambda amount, label: None,
) -> Report:
    """Run the benchmark.

    Args:
        settings: What to measure.
        threads: For the default engine and for torch.
        contenders: Who takes part; the default engine first.
        advance: Told how much of `steps(...)` is done, and what comes next.
    """
    machine = Machine.this(threads)
    race = Race(contenders, threads)
    counts, timings, started = tuple(sorted({1, threads})), [], time.monotonic()

    def step(label: str) -> None:
        advance(1, label)

    before = torch.get_num_threads()
    try:
        for qubits, batch in settings.sizes:
            effort = settings.effort
            if time.monotonic() - started > settings.race_s:  # a slow or busy machine
                effort = Effort(effort.spend_s / 2, effort.spend_s / 4, effort.rounds)
            if (qubits, batch) == (settings.at_qubits, settings.batch):
                # Ratios are quoted for this size: whole batches where that is possible at all.
                effort = Effort(4 * effort.spend_s, 10 * effort.call_s, 2 * effort.rounds)
            timings += race.run(settings.circuit(qubits), batch, effort, step)
        torch.set_num_threads(1)  # what follows is the default engine, with threads of its own
        share = settings.effort.spend_s * 2, settings.effort.rounds * 2
        step("arithmetic")
        centre = (settings.circuit(settings.at_qubits),)
        batches = tuple(sorted({settings.batch, max(settings.batches)}))
        efficiency = measure_efficiency(centre, batches, counts, *share)
        step("cost of an amplitude")
        growing = tuple(settings.circuit(n) for n in settings.amplitudes)
        amplitudes = measure_efficiency(growing, (_FULL,), counts, *share)
        scaling = _measure_scaling(settings.factors, *share, step) if settings.factors else ()
        certifiers = time_certifiers(settings.certified, step) if settings.certified else ()
        growth = time_growth(step) if settings.growth else ()
    finally:
        torch.set_num_threads(before)
    return Report(
        machine=machine,
        layers=settings.layers,
        qubits=settings.at_qubits,
        batch=settings.batch,
        command=settings.command,
        contenders={contender.name: contender.how for contender in contenders},
        skipped=race.skipped,
        timings=tuple(timings),
        efficiency=efficiency,
        amplitudes=amplitudes,
        scaling=scaling,
        certifiers=certifiers,
        growth=growth,
    )


def steps(settings: Settings, contenders: int) -> int:
    """How much `measure` advances by in all."""
    whole = 3 if settings.factors else 0
    certificates = (len(MODELS) if settings.certified else 0) + (4 if settings.growth else 0)
    return len(settings.sizes) * (contenders + 1) + 2 + whole + certificates


def _measure_scaling(
    factors: tuple[int, ...], spend_s: float, rounds: int, step: Callable[[str], None]
) -> tuple[Scaling, ...]:
    """Time `qbench.evaluate` with PGD while images, steps and trained models grow by `factors`."""
    data = qbench.load_dataset().train
    model = qbench.load_model(_MODEL)

    def attack(model: nn.Module, images: int, length: int) -> None:
        places = [i % len(data.x) for i in range(images)]  # from the start again when they run out
        some = Split(data.x[places], data.y[places])
        qbench.evaluate(model, "pgd", _EPS, data=some, steps=length)

    def several(count: int) -> None:
        for seed in range(count):
            attack(qbench.load_model(_MODEL, seed % _SEEDS), _IMAGES, _STEPS)

    loaded = f"{_IMAGES} images, {_STEPS} steps, loading included"
    series: tuple[tuple[str, str, int, Callable[[int], None]], ...] = (
        ("images", f"{_STEPS} steps", 32, lambda n: attack(model, n, _STEPS)),
        ("attack steps", f"{_IMAGES} images", 5, lambda n: attack(model, _IMAGES, n)),
        ("trained models", loaded, 1, several),
    )
    found = []
    for what, fixed, smallest, run in series:
        step(f"whole program: {what}")
        sizes = tuple(smallest * factor for factor in factors)
        best = best_times({n: partial(run, n) for n in sizes}, spend_s, rounds)
        found.append(Scaling(what, fixed, sizes, tuple(best[n].seconds for n in sizes)))
    return tuple(found)
