"""The `iqm` engine: counts of IQM's snapshots of its devices."""

from __future__ import annotations

from typing import Any

from qiskit_aer import AerSimulator

from qbench.errors import VerificationError
from qbench_engines.device import check_device_shots
from qbench_engines.iqm.devices import snapshot
from qbench_engines.programs import counts_of, loaded
from qbench_engines.qiskit_device import QiskitDeviceEngine
from qbench_hardware.interface import Job, JobResult

MOST_SHOTS = 100_000  # IQM states none for its snapshots; memory grows with them


class IqmEngine(QiskitDeviceEngine):
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
        noise = self._backend.noise_model
        self._simulator = AerSimulator(method="density_matrix", noise_model=noise)

    @property
    def _backend(self) -> Any:
        return snapshot(self.device)

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
