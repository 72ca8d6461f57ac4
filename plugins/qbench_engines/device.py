"""What engines of devices have in common: a fake one runs circuits at once, a real one never."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.engines import refuse_jobs
from qbench.engines.sampling import fresh_seed
from qbench.errors import UsageError
from qbench_engines import host
from qbench_hardware.interface import FreePlan, Job, JobResult, JobState, Program

REASON = "a device only counts outcomes"


class DeviceEngine(ABC):
    """An engine that only counts outcomes, of a device or of its snapshot in this process.

    It gives a `qbench_hardware.interface.JobEngine` what `qbench.interfaces.Engine` asks for. An
    engine that is always `local` writes `compile`, `values`, `readout` and `run`; one with a
    service behind it writes all that is below as well.

    Args:
        name: As records show it, with the device.
        device: The vendor's name of it.
        shots: Runs of each circuit.
        seed: Of a simulated device's noise.
        local: Whether circuits run in this process, and nothing is paid.
    """

    exact = False
    differentiable = False
    poll_s = 5.0
    settle_s = 30.0
    free_plan: FreePlan | None = None

    def __init__(self, name: str, device: str, shots: int, seed: int, *, local: bool) -> None:
        self.name, self.device, self.shots, self.local = name, device, shots, local
        self._generator = np.random.default_rng(seed)
        self._programs: dict[tuple[Circuit, bool], Program] = {}

    @property
    def by_job(self) -> bool:
        """Whether its circuits are paid for by the job, so that only a ledger may hand them in."""
        return not self.local

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Relative frequencies (batch, 2^m); arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for.
            UsageError: The device is a real one, or arguments do not fit.
        """
        host.refuse_gradients(self.name, REASON, angles, state)
        refuse_jobs(self)
        key = (circuit, state is not None)
        if key not in self._programs:
            self._programs[key] = self.compile(*key)
        values = self.values(self._programs[key], circuit, angles, state)
        seed = fresh_seed(self._generator)
        result = self.run(Job("direct", self._programs[key], values, self.shots, seed))
        return host.write(result.counts / self.shots, angles)

    @abstractmethod
    def compile(self, circuit: Circuit, amplitudes: bool) -> Program:
        """The circuit for this device."""

    @abstractmethod
    def values(
        self, program: Program, circuit: Circuit, angles: Tensor, state: Tensor | None
    ) -> NDArray[np.float64]:
        """Parameter values (batch, parameters) of a program."""

    @abstractmethod
    def readout(self, program: Program) -> tuple[Program, NDArray[np.float64]]:
        """Circuits that prepare each outcome, in order, on the qubits a program measures."""

    @abstractmethod
    def run(self, job: Job) -> JobResult:
        """Run a job in this process."""

    @property
    def account(self) -> str | None:
        """Who pays for jobs: nobody."""
        return None

    def seconds(self, job: Job) -> float:
        """The QPU time that a job is charged with: none."""
        return 0.0

    def dry_run(self, job: Job) -> float | None:
        """What the service says that a job would take: nothing."""
        return None

    def mitigation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that have an effect: none."""
        return {}

    def submit(self, job: Job, tag: str) -> str:
        """Hand a job in under a tag; returns its id."""
        self._no_service()

    def find(self, tag: str) -> list[str]:
        """Ids of the jobs under a tag, the oldest first."""
        self._no_service()

    def state(self, job_id: str) -> JobState:
        """Where a job stands."""
        self._no_service()

    def result(self, job_id: str) -> JobResult:
        """Counts of a job that is done."""
        self._no_service()

    def close(self) -> None:  # noqa: B027 - nothing is open
        """No more jobs follow for now."""

    def _no_service(self) -> NoReturn:
        raise NotImplementedError(f"engine {self.name!r} runs its jobs in this process")


def check_device_shots(engine: str, shots: int | None, most: int | None) -> int:
    """A number of shots that a device takes.

    Args:
        engine: Name of the engine, with the device.
        shots: Runs of each circuit.
        most: What the device allows; None where it does not say.

    Raises:
        UsageError: None are given, less than one, or more than the device allows.
    """
    if shots is None:
        raise UsageError(
            f"engine {engine!r} only samples: give a number of shots, e.g. --shots 4096, or "
            f"MODEL@{engine}:4096"
        )
    if shots < 1:
        raise UsageError(f"engine {engine!r}: {shots} shots; give at least 1")
    if most is not None and shots > most:
        raise UsageError(
            f"engine {engine!r}: {shots:,} shots, and the device runs a circuit at most {most:,} "
            "times in a job: give fewer --shots"
        )
    return shots
