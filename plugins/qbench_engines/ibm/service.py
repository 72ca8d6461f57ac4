"""The only place that talks to IBM: connect, devices, submit, find, ask, fetch."""

from __future__ import annotations

import logging
from typing import Any, cast

from qiskit_ibm_runtime import Batch, QiskitRuntimeService

from qbench.errors import UnknownNameError
from qbench_engines.ibm import sampler
from qbench_engines.ibm.messages import translated
from qbench_engines.ibm.scrubbing import scrubbed
from qbench_hardware.interface import JobState, ServiceError, State

DRY_RUN, DRY_RUN_S = "qbench-dry-run", 60.0  # its tag, and how long it is waited for

_STATES: dict[str, State] = {
    "INITIALIZING": "queued",
    "QUEUED": "queued",
    "RUNNING": "running",
    "DONE": "done",
    "ERROR": "failed",
    "CANCELLED": "failed",
}


class Service:
    """IBM Quantum with the account that Qiskit finds: QISKIT_IBM_TOKEN, or the saved one.

    Args:
        device: Name of the device; the connection is made when it is first needed.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._service: Any = None
        self._backend: Any = None
        self._batch: Any = None

    @property
    def backend(self) -> Any:
        """The device.

        Raises:
            UnknownNameError: The account has none of this name; names the nearest ones.
            ServiceError: The service refuses or cannot be reached.
        """
        if self._backend is None:
            with translated(f"open {self.device}"):
                self._service = QiskitRuntimeService()
                found = self._service.backends(self.device)
                names = [] if found else [other.name for other in self._service.backends()]
            if not found and not names:
                raise ServiceError(
                    f"cannot open {self.device}: the account's instance lists no devices at all; "
                    "check QISKIT_IBM_INSTANCE or the saved instance, and the network"
                )
            if not found:
                raise UnknownNameError("IBM device", self.device, names)
            self._backend = found[0]
        return self._backend

    @property
    def instance(self) -> str:
        """The CRN of the instance that the device is used through, and that pays."""
        return str(getattr(self.backend, "_instance", None) or self._service.active_instance())

    def submit(self, pubs: list[Any], shots: int, tag: str, options: dict[str, Any]) -> str:
        """Hand a Sampler job in under a tag, inside this process's batch; returns its id."""
        backend = self.backend
        with translated("submit a job"):
            if self._batch is None:
                self._batch = Batch(backend=backend)
            return str(sampler.handed_in(self._batch, pubs, shots, [tag], options).job_id())

    def dry_run(self, pubs: list[Any], shots: int, options: dict[str, Any]) -> float | None:
        """QPU seconds that IBM says a job would take, None where it does not say.

        Only some plans have this, and the free one does not. Nothing is charged.
        """
        backend = self.backend
        try:
            with translated("ask for a dry run"):
                job = sampler.handed_in(backend, pubs, shots, [DRY_RUN], options, dry_run=True)
                job.wait_for_final_state(timeout=DRY_RUN_S)
                return float(job.usage()) or None
        except ServiceError as error:
            logging.getLogger("qbench").info("%s", error)
            return None

    def find(self, tag: str) -> list[str]:
        """Ids of the jobs under a tag, the oldest first."""
        instance = self.instance
        with translated("look for jobs"):
            found = self._service.jobs(
                job_tags=[tag], instance=instance, limit=None, descending=False
            )
            return [str(job.job_id()) for job in found]

    def state(self, job_id: str) -> JobState:
        """Where a job stands."""
        job = self._job(job_id)
        with translated(f"ask for job {job_id}"):
            told = str(job.status())
            state = _STATES.get(told, cast(State, told))  # what is unknown is refused by name
            reason = None
            if state == "failed":
                reason = scrubbed(str(job.error_message() or "it was cancelled"))
            tags = tuple(map(str, job.tags))
        return JobState(state, reason, tags)

    def result(self, job_id: str) -> tuple[Any, str | None, float | None]:
        """The Sampler's result of a job, when it finished (ISO 8601), and the QPU seconds used."""
        job = self._job(job_id)
        with translated(f"fetch job {job_id}"):
            result, metrics = job.result(), job.metrics()
        usage = metrics.get("usage") or {}
        times = metrics.get("timestamps") or {}
        seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))  # before 0.50
        return result, times.get("finished"), seconds

    def close(self) -> None:
        """Close the batch; its jobs run on. A batch that cannot be closed closes by itself."""
        if self._batch is not None:
            batch, self._batch = self._batch, None
            try:
                with translated("close the batch"):
                    batch.close()
            except ServiceError:
                pass

    def _job(self, job_id: str) -> Any:
        _ = self.backend
        with translated(f"ask for job {job_id}"):
            return self._service.job(job_id)
