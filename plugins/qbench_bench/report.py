"""What a benchmark found, and on which machine: plain data, also as JSON."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import linear_regression
from typing import Any

SCHEMA_VERSION = 1
KINDS = {"forward": "forward", "gradient": "forward and gradient"}
"""What is timed: its name in the data, and in words."""
_DISTRIBUTIONS = (
    *("qbench-robustness", "torch", "numpy", "numba", "llvmlite"),
    *("pennylane", "pennylane-lightning", "jax", "jaxlib", "qulacs", "pyqtorch"),
)
_CPUINFO = Path("/proc/cpuinfo")


def threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'s' if count > 1 else ''}"


@dataclass(frozen=True)
class Machine:
    """A computer, as far as speed is concerned, and nothing that tells whose it is.

    Args:
        processor: Its model name.
        cores: How many of its cores were used.
        instructions: The vector instructions that the `statevector` engine uses.
        lanes: How many float32 numbers it computes with at once.
        system: Operating system and architecture.
        load: Programs that wanted a core in the last minute, before the run; None if not known.
        versions: Of Python and of the packages that take part, by distribution.
    """

    processor: str
    cores: int
    instructions: str
    lanes: int
    system: str
    load: float | None
    versions: dict[str, str]

    @classmethod
    def this(cls, cores: int) -> Machine:
        """The machine that runs this process."""
        from qbench_engines.statevector.lanes import LANE_BYTES

        versions = {"python": platform.python_version()}
        for name in _DISTRIBUTIONS:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                continue
        return cls(
            processor=_processor(),
            cores=cores,
            instructions=_instructions(),
            lanes=LANE_BYTES // 4,
            system=f"{platform.system()} {platform.machine()}",
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            versions=versions,
        )


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((name for name in names if name), platform.processor() or platform.machine())


def _instructions() -> str:
    features = import_module("llvmlite.binding").get_host_cpu_features()
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "neon": "NEON", "sse2": "SSE2"}
    return next((label for flag, label in known.items() if features.get(flag)), "scalar")


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

    @property
    def amplitude_ns(self) -> float:
        """Nanoseconds for one amplitude of one sample in one layer."""
        return 1e9 * self.seconds / (self.batch * self.layers * (1 << self.qubits))

    def as_json(self) -> dict[str, Any]:
        """With the numbers derived from time, arithmetic and peak."""
        derived = {"floor_s": self.floor_s, "distance": self.distance, "gflops": self.gflops}
        return asdict(self) | derived


@dataclass(frozen=True)
class Scaling:
    """Time against one measure of size.

    Args:
        what: What grows: `"images"`, `"attack steps"`, `"trained models"`, `"layers"`, `"qubits"`.
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
        x, y = ([math.log(value) for value in values] for values in (self.sizes, self.seconds))
        return linear_regression(x, y).slope


@dataclass(frozen=True)
class CertifierTiming:
    """One certifier on one trained model.

    Args:
        certifier, model: Their names.
        images: How many were certified.
        seconds: For all of them, at every reported budget.
        attack_s: What PGD takes on the same images at one budget.
        certified: Accuracy certified by it at `certifying.SHOWN`.
    """

    certifier: str
    model: str
    images: int
    seconds: float
    attack_s: float
    certified: float

    @property
    def ratio(self) -> float:
        """Time in units of the attack's."""
        return self.seconds / self.attack_s


@dataclass(frozen=True)
class Report:
    """Everything of one run.

    Args:
        machine: Where.
        layers: Of every circuit.
        qubits, batch: The size that ratios are quoted for.
        command: How to repeat it.
        contenders: What each one does, by name; the default engine first.
        skipped: Why a contender was not timed at all, by name.
        timings: One a contender and size.
        efficiency: The arithmetic section.
        amplitudes: The same for growing circuits: cost an amplitude.
        scaling: The whole program.
        certifiers: One a certifier.
        growth: Time of a certifier while something grows.
    """

    machine: Machine
    layers: int
    qubits: int
    batch: int
    command: str
    contenders: dict[str, str]
    skipped: dict[str, str]
    timings: tuple[Timing, ...]
    efficiency: tuple[Efficiency, ...] = ()
    amplitudes: tuple[Efficiency, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    certifiers: tuple[CertifierTiming, ...] = ()
    growth: tuple[Scaling, ...] = ()

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
        return {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "timings": [
                asdict(timing) | {f"{kind}_ratio": self.ratio(timing, kind) for kind in KINDS}
                for timing in self.timings
            ],
            "efficiency": [row.as_json() for row in self.efficiency],
            "amplitudes": [row.as_json() for row in self.amplitudes],
            "scaling": [asdict(row) | {"exponent": row.exponent} for row in self.scaling],
            "certifiers": [asdict(row) | {"ratio": row.ratio} for row in self.certifiers],
            "growth": [asdict(row) | {"exponent": row.exponent} for row in self.growth],
        }
