"""The `ibm` engine: the Sampler on four qubits of a device, real or fake."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.circuits.circuit import Circuit
from qbench_engines.backends import fake_backend
from qbench_engines.device import check_device_shots
from qbench_engines.ibm import sampler
from qbench_engines.ibm.factory import FAKE
from qbench_engines.ibm.local import fake_device
from qbench_engines.ibm.service import Service
from qbench_engines.programs import (
    REGISTER,
    counts_of,
    loaded,
)
from qbench_engines.qiskit_device import QiskitDeviceEngine
from qbench_hardware.interface import Counts, FreePlan, Job, JobResult, JobState, Program

JOB_OVERHEAD_S = 2.0
LEAST_EXECUTION_S = 350e-6
# A job that takes three times what is estimated, and a minute more, is stopped: something is wrong.
MARGIN, SLACK_S = 3, 60
RANDOMIZATIONS = 32  # random Pauli frames of a circuit, as the Sampler has them


class IbmEngine(QiskitDeviceEngine):
    """A device of IBM Quantum, or `fake_NAME` for its snapshot in this process.

    It takes jobs (`qbench_hardware.interface.JobEngine`). A fake device also runs circuits at once,
    as other engines do.

    Args:
        device: IBM's name of it.
        shots: Runs of each circuit.
        seed: Of a fake device's noise.

    Raises:
        UnknownNameError: There is no such fake device.
        UsageError: A fake device does not take that many shots.
    """

    free_plan = FreePlan("IBM's Open Plan", 600.0, "28 days")

    def __init__(self, device: str, shots: int, seed: int) -> None:
        local = device.startswith(FAKE)
        super().__init__(f"ibm:{device}", device, shots, seed, local=local)
        self._service = Service(device)
        if local:
            self._check_shots()

    @property
    def account(self) -> str | None:
        """The CRN of the instance that pays, which names its account too; None for fake devices."""
        return None if self.local else self._service.instance

    def compile(self, circuit: Circuit, amplitudes: bool) -> Program:
        """The circuit for this device, on the qubits where it most likely succeeds.

        Raises:
            UsageError: It needs more qubits than the device has, or more shots than it takes.
        """
        self._check_shots()
        return super().compile(circuit, amplitudes)

    def seconds(self, job: Job) -> float:
        """QPU time, by IBM's formula: 2 s a job, and for each shot of each circuit its length and
        the pause after it, 350 µs at least (IBM's rule of thumb). A fake device takes none."""
        if self.local:
            return 0.0
        pause = getattr(self._backend, "default_rep_delay", None) or 0.0
        execution = max(LEAST_EXECUTION_S, pause + job.program.about["duration_s"])
        return JOB_OVERHEAD_S + job.circuits * job.shots * float(execution)

    def dry_run(self, job: Job) -> float | None:
        """QPU seconds that IBM's own dry run says a job would take; None where it offers none."""
        if self.local or not sampler.CLIENT_SIDE:
            return None
        return self._service.dry_run(_pubs(job), job.shots, sampler_options(job.options, job.shots))

    def mitigation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options that have an effect: on a fake device, none."""
        return {} if self.local else dict(options)

    def run(self, job: Job) -> JobResult:
        """Run a job on a fake device, in this process."""
        device = fake_device(self.device, job.program.about["qubits"])
        return JobResult(_counts(sampler.simulated(device, _pubs(job), job.shots, job.seed)))

    def submit(self, job: Job, tag: str) -> str:
        """Hand a job in under a tag; returns its id."""
        longest = math.ceil(MARGIN * self.seconds(job) + SLACK_S)
        options = sampler_options(job.options, job.shots) | {"max_execution_time": longest}
        return self._service.submit(_pubs(job), job.shots, tag, options)

    def find(self, tag: str) -> list[str]:
        """Ids of the jobs under a tag, the oldest first."""
        return self._service.find(tag)

    def state(self, job_id: str) -> JobState:
        """Where a job stands."""
        return self._service.state(job_id)

    def result(self, job_id: str) -> JobResult:
        """Counts of a job that is done."""
        result, finished, seconds = self._service.result(job_id)
        return JobResult(_counts(result), finished, seconds)

    def close(self) -> None:
        """Close the batch that jobs were handed in with; they run on."""
        self._service.close()

    def _check_shots(self) -> None:
        most = getattr(self._backend.configuration(), "max_shots", None)
        check_device_shots(self.name, self.shots, most)

    @property
    def _backend(self) -> Any:
        return fake_backend(self.device) if self.local else self._service.backend


def sampler_options(options: Mapping[str, Any], shots: int) -> dict[str, Any]:
    """Mitigation as the Sampler takes it.

    `dynamical_decoupling` names a sequence (XX, XpXm, XY4); `twirling` is what is twirled: gates,
    measurement, or all. Left out, both are off. Shots are dealt out evenly among at most
    `RANDOMIZATIONS` frames, since the Sampler by itself takes more shots where it does not come
    out even: those would be paid for, and not what was asked for.
    """
    sequence, twirled = options.get("dynamical_decoupling"), options.get("twirling")
    decoupling = {"enable": True, "sequence_type": sequence} if sequence else {"enable": False}
    twirling: dict[str, Any] = {
        "enable_gates": twirled in ("gates", "all"),
        "enable_measure": twirled in ("measurement", "all"),
    }
    if twirled:
        frames = max(n for n in range(1, RANDOMIZATIONS + 1) if shots % n == 0)
        twirling |= {"num_randomizations": frames, "shots_per_randomization": shots // frames}
    return {"dynamical_decoupling": decoupling, "twirling": twirling}


def _pubs(job: Job) -> list[tuple[Any, NDArray[np.float64]]]:
    return [(loaded(job.program), job.values)]


def _counts(result: Any) -> Counts:
    """Counts (circuits, 2^m) of the one PUB of a job."""
    bits = result[0].data[REGISTER]
    circuits = int(np.prod(bits.shape))
    flat = bits.reshape((circuits,))
    return counts_of([flat.get_int_counts(one) for one in range(circuits)], 2**bits.num_bits)
