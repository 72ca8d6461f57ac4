"""What was measured on: the processor and the versions, and nothing that tells whose it is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_DISTRIBUTIONS = (
    *("qbench-robustness", "torch", "numpy", "numba", "llvmlite"),
    *("pennylane", "pennylane-lightning", "jax", "jaxlib", "qulacs", "pyqtorch"),
)
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """A computer, as far as speed is concerned.

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


def this_machine(cores: int) -> Machine:
    """The machine that runs this process."""
    from qbench.circuits.lanes import LANE_BYTES

    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
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
