"""What an engine must do to run jobs: compile, submit, be asked for a job, and give its counts.

This is what plugins with engines import; nothing else of this package is for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import QbenchError

Counts = NDArray[np.int64]
State = Literal["queued", "running", "done", "failed"]


class ServiceError(QbenchError):
    """A service that refuses; trying again does not help."""


class ServiceUnavailableError(ServiceError):
    """A service that cannot be reached or is busy; whether it took the request is not known."""


@dataclass(frozen=True)
class FreePlan:
    """What a vendor gives for nothing.

    Args:
        name: The vendor's name of it.
        seconds: QPU seconds in a period.
        period: How long that is, in words.
    """

    name: str
    seconds: float
    period: str


@dataclass(frozen=True)
class Program:
    """A circuit with parameters in a device's own gates and on its own qubits.

    Args:
        content: The circuit in the engine's format.
        outcomes: Number of outcomes, 2^m for m measured wires.
        about: JSON values: `device`, `calibrated` (ISO 8601), `qubits` (those of the device that
            are used), `two_qubit_gates`, `depth`, `duration_s`, `estimated_success`, `versions`.
    """

    content: bytes
    outcomes: int
    about: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of the circuit."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Job:
    """One program, run a number of times for each row of parameter values.

    Args:
        name: What it is for, unique in a run.
        program: The circuit.
        values: (circuits, parameters) float64, in the program's own order.
        shots: Runs of each circuit.
        seed: Of a simulated device; at least 1.
        options: Mitigation on the device, by name: `dynamical_decoupling`, `twirling`.
    """

    name: str
    program: Program
    values: NDArray[np.float64]
    shots: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def circuits(self) -> int:
        """How many circuits are run."""
        return len(self.values)

    def key(self, engine: str, run: str) -> str:
        """SHA-256 of everything that goes into the job.

        Args:
            engine: Name of the engine, with its device.
            run: The run it belongs to: the same work in another run is another measurement.
        """
        values = np.ascontiguousarray(self.values, np.float64)
        about = {
            "run": run,
            "engine": engine,
            "name": self.name,
            "program": self.program.sha256,
            "values": hashlib.sha256(values.tobytes()).hexdigest(),
            "shape": list(values.shape),
            "shots": self.shots,
            "seed": self.seed,
            "options": dict(self.options),
        }
        text = json.dumps(about, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class JobResult:
    """What a job gave.

    Args:
        counts: (circuits, outcomes), the first measured wire as the highest bit.
        finished: When, ISO 8601; None where the service does not say.
        seconds: QPU time used; None where the service does not say.
    """

    counts: Counts
    finished: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class JobState:
    """Where a job stands; `reason` says why it failed.

    `tags` are those the service has of it: without the one it was handed in under, its counts are
    not taken.
    """

    state: State
    reason: str | None = None
    tags: Sequence[str] = ()


@runtime_checkable
class JobEngine(Protocol):
    """An engine that takes jobs, beside what `qbench.interfaces.Engine` asks for.

    Every method that talks to a service raises `ServiceUnavailableError` when it cannot be reached
    and `ServiceError` when it refuses; messages are one line, say what to do, and hold no secret.
    `qbench_engines.device.DeviceEngine` is a base class for it that needs least.

    Args:
        name: As records show it, with the device.
        local: Whether jobs run in this process: nothing is paid, and `run` is called instead of
            `submit`, `find`, `state` and `result`.
        poll_s: Seconds between two looks at a job.
        settle_s: Seconds after which a job that was accepted is surely found by its tag.
        account: Who pays: the instance and account as the service names them, and no secret. Jobs
            are found again only there. None where `local`; may connect.
        free_plan: What the vendor gives for nothing; None where that is not known.
    """

    name: str
    local: bool
    poll_s: float
    settle_s: float
    free_plan: FreePlan | None

    @property
    def account(self) -> str | None: ...

    def compile(self, circuit: Circuit, amplitudes: bool) -> Program:
        """The circuit for this device; `amplitudes` when it starts with amplitude encoding."""

    def values(
        self, program: Program, circuit: Circuit, angles: Tensor, state: Tensor | None
    ) -> NDArray[np.float64]:
        """Parameter values (batch, parameters) of a program made by `compile`."""

    def readout(self, program: Program) -> tuple[Program, NDArray[np.float64]]:
        """Circuits that prepare each outcome, in order, on the qubits a program measures."""

    def seconds(self, job: Job) -> float:
        """Estimate of the QPU time that a job is charged with."""

    def dry_run(self, job: Job) -> float | None:
        """What the service itself says that a job would take, without running it; None where it
        does not say."""

    def mitigation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that have an effect on this device."""

    def run(self, job: Job) -> JobResult:
        """Run a job in this process; only where `local`."""

    def submit(self, job: Job, tag: str) -> str:
        """Hand a job in under a tag; returns its id."""

    def find(self, tag: str) -> list[str]:
        """Ids of the jobs under a tag, the oldest first."""

    def state(self, job_id: str) -> JobState:
        """Where a job stands."""

    def result(self, job_id: str) -> JobResult:
        """Counts of a job that is done."""

    def close(self) -> None:
        """No more jobs follow for now."""
