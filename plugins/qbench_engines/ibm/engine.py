"""The `ibm` engine: the Sampler on four qubits of a device, real or fake."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit_ibm_runtime import SamplerV2
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.engines.sampling import fresh_seed
from qbench.errors import UsageError
from qbench_engines import host
from qbench_engines.backends import check_size, fake_backend
from qbench_engines.ibm.factory import FAKE
from qbench_engines.ibm.local import fake_device
from qbench_engines.ibm.programs import REGISTER, compile_for, loaded, readout_for, values_of
from qbench_engines.ibm.service import Service
from qbench_hardware.interface import Counts, Job, JobResult, JobState, Program

JOB_OVERHEAD_S = 2.0
LEAST_EXECUTION_S = 350e-6
_NO_GRADIENTS = "a device only counts outcomes"


class IbmEngine:
    """A device of IBM Quantum, or `fake_NAME` for its snapshot in this process.

    It takes jobs (`qbench_hardware.interface.JobEngine`). A fake device also runs circuits at once,
    as other engines do.

    Args:
        device: IBM's name of it.
        shots: Runs of each circuit.
        seed: Of a fake device's noise.

    Raises:
        UnknownNameError: There is no such fake device.
    """

    exact = False
    differentiable = False
    poll_s = 5.0
    settle_s = 30.0

    def __init__(self, device: str, shots: int, seed: int) -> None:
        self.name, self.device, self.shots = f"ibm:{device}", device, shots
        self.local = device.startswith(FAKE)
        if self.local:
            fake_backend(device)
        self._service = Service(device)
        self._generator = np.random.default_rng(seed)
        self._programs: dict[tuple[Circuit, bool], Program] = {}

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Relative frequencies (batch, 2^m); arguments as in `qbench.interfaces.Engine`.

        Raises:
            Unsupported: A gradient is asked for.
            UsageError: The device is a real one, or arguments do not fit.
        """
        host.refuse_gradients(self.name, _NO_GRADIENTS, angles, state)
        if not self.local:
            raise UsageError(
                f"engine {self.name!r} is paid by the job: use 'qbench hardware run', which keeps "
                "a ledger of what was handed in"
            )
        key = (circuit, state is not None)
        if key not in self._programs:
            self._programs[key] = self.compile(*key)
        values = self.values(self._programs[key], circuit, angles, state)
        seed = fresh_seed(self._generator)
        result = self.run(Job("direct", self._programs[key], values, self.shots, seed))
        return host.write(result.counts / self.shots, angles)

    def compile(self, circuit: Circuit, amplitudes: bool) -> Program:
        """The circuit for this device, on the qubits where it most likely succeeds.

        Raises:
            UsageError: It needs more qubits than the device has.
        """
        check_size(self.name, self._backend, circuit.qubits)
        return compile_for(circuit, amplitudes, self._backend)

    def values(
        self, program: Program, circuit: Circuit, angles: Tensor, state: Tensor | None
    ) -> NDArray[np.float64]:
        """Parameter values (batch, parameters): the same angles as on any other engine."""
        return values_of(program, host.read(self.name, circuit, angles, state))

    def readout(self, program: Program) -> tuple[Program, NDArray[np.float64]]:
        """Circuits that prepare each outcome on the qubits a program measures."""
        return readout_for(program, self._backend)

    def seconds(self, job: Job) -> float:
        """QPU time, by IBM's formula: 2 s a job, and for each shot of each circuit its length and
        the pause after it, 350 µs at least (IBM's rule of thumb). A fake device takes none."""
        if self.local:
            return 0.0
        pause = getattr(self._backend, "default_rep_delay", None) or 0.0
        execution = max(LEAST_EXECUTION_S, pause + job.program.about["duration_s"])
        return JOB_OVERHEAD_S + job.circuits * job.shots * float(execution)

    def mitigation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options that have an effect: on a fake device, none."""
        return {} if self.local else dict(options)

    def run(self, job: Job) -> JobResult:
        """Run a job on a fake device, in this process."""
        backend = fake_device(self.device, job.program.about["qubits"])
        options = {"simulator": {"seed_simulator": job.seed}}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no effect in local testing mode.*")
            sampler = SamplerV2(mode=backend, options=options)
            result = sampler.run([(loaded(job.program), job.values)], shots=job.shots).result()
        return JobResult(_counts(result))

    def submit(self, job: Job, tag: str) -> str:
        """Hand a job in under a tag; returns its id."""
        pubs = [(loaded(job.program), job.values)]
        return self._service.submit(pubs, job.shots, tag, sampler_options(job.options))

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

    @property
    def _backend(self) -> Any:
        return fake_backend(self.device) if self.local else self._service.backend


def sampler_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Mitigation as the Sampler takes it.

    `dynamical_decoupling` names a sequence (XX, XpXm, XY4); `twirling` is what is twirled: gates,
    measurement, or all. Left out, both are off.
    """
    sequence, twirled = options.get("dynamical_decoupling"), options.get("twirling")
    decoupling = {"enable": True, "sequence_type": sequence} if sequence else {"enable": False}
    return {
        "dynamical_decoupling": decoupling,
        "twirling": {
            "enable_gates": twirled in ("gates", "all"),
            "enable_measure": twirled in ("measurement", "all"),
        },
    }


def _counts(result: Any) -> Counts:
    """Counts (circuits, 2^m); classical bit k is measured wire k, which is to be the k-th highest
    bit, while Qiskit's bit 0 is the lowest."""
    bits = result[0].data[REGISTER]
    m, circuits = bits.num_bits, int(np.prod(bits.shape))
    order = [int(format(i, f"0{m}b")[::-1], 2) for i in range(2**m)]
    flat, counts = bits.reshape((circuits,)), np.zeros((circuits, 2**m), np.int64)
    for circuit in range(circuits):
        for outcome, count in flat.get_int_counts(circuit).items():
            counts[circuit, order[outcome]] = count
    return counts
