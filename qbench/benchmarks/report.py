"""What a benchmark found: plain data, also as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from qbench.benchmarks.machine import Machine

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Timing:
    """One contender on one size of problem.

    Args:
        contender: Its name.
        qubits, batch: The size.
        samples: How many of the batch's samples it was timed on; 0 when it was not.
        forward_s, gradient_s: Best time for those samples: values, values and gradients.
        repetitions: How many calls the best was taken of, for each of the two.
        torch_threads: Torch's threads, the faster of one and all; None outside torch.
        reason: Why it was not timed.
    """

    contender: str
    qubits: int
    batch: int
    samples: int = 0
    forward_s: float | None = None
    gradient_s: float | None = None
    repetitions: tuple[int, int] = (0, 0)
    torch_threads: int | None = None
    reason: str | None = None

    def per_sample(self, kind: str) -> float | None:
        """Seconds a sample, `kind` being `"forward"` or `"gradient"`."""
        seconds = self.forward_s if kind == "forward" else self.gradient_s
        return None if seconds is None else seconds / self.samples


@dataclass(frozen=True)
class Efficiency:
    """The default engine against the arithmetic.

    Args:
        qubits, layers, batch, threads: What was run.
        kind: `"forward"` or `"gradient"`.
        seconds: Best time for the batch.
        multiply_adds: Counted for the batch, factored form.
        peak: Multiply-adds a second of the same threads, measured in turn with the engine.
    """

    qubits: int
    layers: int
    batch: int
    threads: int
    kind: str
    seconds: float
    multiply_adds: int
    peak: float

    @property
    def floor_s(self) -> float:
        """The time that the arithmetic alone takes at peak speed."""
        return self.multiply_adds / self.peak

    @property
    def distance(self) -> float:
        """Time over floor: 1 is perfect."""
        return self.seconds / self.floor_s

    @property
    def gflops(self) -> float:
        """Achieved, a multiply-add being two operations."""
        return 2e-9 * self.multiply_adds / self.seconds


@dataclass(frozen=True)
class Scaling:
    """Time of whole evaluations against one measure of their size.

    Args:
        what: `"images"`, `"attack steps"` or `"trained models"`.
        fixed: What stayed the same, in words.
        sizes, seconds: The points; best times.
    """

    what: str
    fixed: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of log time against log size, by least squares; 1 is linear."""
        x = [math.log(size) for size in self.sizes]
        y = [math.log(second) for second in self.seconds]
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        across = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        return across / sum((a - mean_x) ** 2 for a in x)


@dataclass(frozen=True)
class Report:
    """Everything of one run.

    Args:
        machine: Where.
        layers: Of every circuit.
        command: How to repeat it.
        contenders: What each one does, by name; the default engine first.
        skipped: Why a contender was not timed at all, by name.
        timings: One a contender and size.
        efficiency: The arithmetic section.
        amplitudes: The same for growing circuits: cost an amplitude.
        scaling: The whole program.
    """

    machine: Machine
    layers: int
    command: str
    contenders: dict[str, str]
    skipped: dict[str, str]
    timings: tuple[Timing, ...]
    efficiency: tuple[Efficiency, ...] = ()
    amplitudes: tuple[Efficiency, ...] = ()
    scaling: tuple[Scaling, ...] = field(default=())

    def find(self, contender: str, qubits: int, batch: int) -> Timing | None:
        """The timing of one contender at one size."""
        key = contender, qubits, batch
        return next((t for t in self.timings if (t.contender, t.qubits, t.batch) == key), None)

    def ratio(self, timing: Timing, kind: str) -> float | None:
        """Time a sample in units of the default engine's at the same size."""
        base = self.find(next(iter(self.contenders)), timing.qubits, timing.batch)
        ours, theirs = base and base.per_sample(kind), timing.per_sample(kind)
        return theirs / ours if ours and theirs is not None else None

    def as_json(self) -> dict[str, Any]:
        """The report with its derived numbers, for `json.dumps`."""
        timings = [
            asdict(timing)
            | {f"{kind}_ratio": self.ratio(timing, kind) for kind in ("forward", "gradient")}
            for timing in self.timings
        ]
        derived = {
            name: [
                asdict(row)
                | {"floor_s": row.floor_s, "distance": row.distance, "gflops": row.gflops}
                for row in getattr(self, name)
            ]
            for name in ("efficiency", "amplitudes")
        }
        scaling = [asdict(row) | {"exponent": row.exponent} for row in self.scaling]
        rest = {"timings": timings, **derived, "scaling": scaling}
        return {"schema_version": SCHEMA_VERSION, **asdict(self), **rest}
