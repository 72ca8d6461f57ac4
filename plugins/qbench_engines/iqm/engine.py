"""The `iqm` engine: counts of IQM's snapshots of its devices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qiskit_aer import AerSimulator
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import VerificationError
from qbench_engines import host
from qbench_engines.compiling import check_size
from qbench_engines.device import DeviceEngine, check_device_shots
from qbench_engines.iqm.devices import snapshot
from qbench_engines.programs import compile_for, counts_of, loaded, readout_for, values_of
from qbench_hardware.interface import Job, JobResult, Program

MOST_SHOTS = 100_000  # IQM states none for its snapshots; memory grows with them


class IqmEngine(DeviceEngine):
    """IQM's snapshot of a device, `fake_garnet`, simulated in this process.

    It takes jobs (`qbench_hardware.interface.JobEngine`) and runs circuits at once.

    Args:
        device: Its name.
        shots: Runs of each circuit.
        seed: Of its noise.

    Raises:
        UnknownNameError: There is no such snapshot.
        UsageError: Too few or too many shots.
    """

    def __init__(self, device: str, shots: int | None, seed: int) -> None:
        name = f"iqm:{device}"
        checked = check_device_shots(name, shots, MOST_SHOTS)
        super().__init__(name, device, checked, seed, local=True)
        self._backend = snapshot(device)
        self._simulator = AerSimulator(
            method="density_matrix", noise_model=self._backend.noise_model
        )

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

    def run(self, job: Job) -> JobResult:
        """Run a job in this process.

        Raises:
            VerificationError: Aer fails.
        """
        circuit = loaded(job.program)
        columns = dict(zip(circuit.parameters, job.values.T.tolist(), strict=True))
        found = self._simulator.run(
            [circuit],
            parameter_binds=[columns] if columns else None,
            shots=job.shots,
            seed_simulator=job.seed,
        ).result()
        if not found.success:
            raise VerificationError(f"Aer: {found.status}")
        counts = [found.data(one)["counts"] for one in range(job.circuits)]
        seen = [{int(key, 16): number for key, number in of.items()} for of in counts]
        return JobResult(counts_of(seen, job.program.outcomes))
