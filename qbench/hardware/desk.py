"""The desk: hands jobs in once, whatever happens between, and keeps what comes back.

The service may have taken a job whose id never arrived, because the process was killed or the
line dropped. So a job is on the ledger before it is handed in, its hash is its tag at the service,
and whoever finds it on the ledger without an id looks for that tag first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from qbench.errors import StoreError, VerificationError
from qbench.files import write_atomically
from qbench.hardware.interface import (
    Counts,
    Job,
    JobEngine,
    JobResult,
    ServiceError,
    ServiceUnavailableError,
)
from qbench.hardware.ledger import Entry, Ledger, now
from qbench.store import from_npz, to_npz

T = TypeVar("T")

ATTEMPTS = 5  # to reach the service
FIRST_PAUSE_S = 2.0  # between them, doubling


class JobFailedError(ServiceError):
    """A job that the service did not carry out."""


class Desk:
    """Submits and collects the jobs of one run.

    Args:
        engine: Runs them.
        ledger: On record.
        folder: Where counts are kept.
        run: Id of the run.
        place: The run's folder, for messages.
    """

    def __init__(self, engine: JobEngine, ledger: Ledger, folder: Path, run: str, place: Path):
        self.engine, self.ledger, self.folder, self.run = engine, ledger, folder, run
        self.place = place

    def entry(self, job: Job) -> Entry | None:
        """What is on record of a job."""
        return self.ledger.find(job.key(self.engine.name, self.run))

    def submit(self, job: Job, *, retry_failed: bool = False) -> Entry:
        """Hand a job in, unless it was before.

        Args:
            job: The job.
            retry_failed: Hand it in again if it failed.

        Raises:
            JobFailedError: It was handed in before and failed.
            ServiceError: The service refuses, or cannot be reached.
            StoreError: A job of this name was handed in with other inputs.
        """
        key = job.key(self.engine.name, self.run)
        entry = self.ledger.find(key)
        self._check_inputs(job, key)
        if entry is not None and entry.standing == "collected" and self.counts(job) is None:
            entry = replace(entry, standing="submitted" if entry.job_id else "intended")
        if entry is not None and entry.standing == "failed" and not retry_failed:
            raise self._failure(entry)
        if entry is not None and entry.standing in ("submitted", "collected"):
            return entry
        if entry is None or entry.standing == "failed":
            entry = self._intend(job, key, entry)
            found = None
        else:
            found = None if self.engine.local else self._reach(lambda: self._adopted(key))
        if self.engine.local:
            self._keep(key, job, self.engine.run(job))
        else:
            self.ledger.submitted(key, found or self._hand_in(job, key))
        return self.ledger.entries[key]

    def collect(self, job: Job) -> bool:
        """Fetch a job's counts if it is done; whether they are here.

        Raises:
            JobFailedError: It failed.
            ServiceError: The service refuses, or cannot be reached.
        """
        entry = self.entry(job)
        if entry is None or entry.standing == "intended":
            return False
        if entry.standing == "failed":
            raise self._failure(entry)
        if self.counts(job) is not None:
            return True
        job_id = entry.job_id
        if job_id is None:  # ran in this process, and its file is gone: run it again
            return False
        state = self._reach(lambda: self.engine.state(job_id))
        if state.state == "failed":
            self.ledger.failed(entry.key, job_id, state.reason or "no reason given")
            raise self._failure(self.ledger.entries[entry.key])
        if state.state != "done":
            return False
        self._keep(entry.key, job, self._reach(lambda: self.engine.result(job_id)))
        return True

    def counts(self, job: Job) -> Counts | None:
        """A job's counts (circuits, outcomes), if they are here and undamaged."""
        entry = self.entry(job)
        if entry is None or entry.counts is None:
            return None
        try:
            content = (self.folder / entry.counts).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content).hexdigest() != entry.counts_sha256:
            return None
        return from_npz(content)["counts"]

    def wait(self, jobs: Sequence[Job], on_done: Callable[[Job], None] = lambda _job: None) -> None:
        """Look at jobs until all are collected.

        Every job that can be collected is, before a failed one is reported.

        Raises:
            JobFailedError, ServiceError: As `collect`.
        """
        waiting, failures = list(jobs), []
        while waiting:
            for job in tuple(waiting):
                try:
                    if not self.collect(job):
                        continue
                except JobFailedError as error:
                    failures.append(error)
                waiting.remove(job)
                on_done(job)
            if waiting:
                time.sleep(self.engine.poll_s)
        if failures:
            raise failures[0]

    def seconds(self, jobs: Iterable[Job]) -> float:
        """Estimated QPU seconds of those jobs that are not handed in yet."""
        return sum(self.engine.seconds(job) for job in jobs if self.entry(job) is None)

    def _check_inputs(self, job: Job, key: str) -> None:
        for entry in self.ledger.entries.values():
            if entry.name == job.name and entry.key != key:
                packages = ", ".join(f"{name} {v}" for name, v in entry.versions.items())
                raise StoreError(
                    f"job {job.name} of {self.place} was handed in with other inputs than it has "
                    f"now: go on with the packages it began with ({packages}), or begin another "
                    "run in another --out folder"
                )

    def _intend(self, job: Job, key: str, before: Entry | None) -> Entry:
        about = job.program.about
        entry = Entry(
            key=key,
            name=job.name,
            circuits=job.circuits,
            shots=job.shots,
            seconds=self.engine.seconds(job),
            at=now(),
            versions=dict(about.get("versions", {})),
            calibrated=about.get("calibrated"),
            failed=before.failed if before else (),
        )
        self.ledger.intend(entry)
        return entry

    def _hand_in(self, job: Job, key: str) -> str:
        first = True

        def attempt() -> str:
            nonlocal first
            # After a dropped line nobody knows whether the service has the job: look first.
            found = None if first else self._adopted(key)
            first = False
            return found or self.engine.submit(job, self.ledger.entries[key].tag)

        return self._reach(attempt)

    def _adopted(self, key: str) -> str | None:
        entry = self.ledger.entries[key]
        for _ in range(2):
            found = [i for i in self.engine.find(entry.tag) if i not in entry.failed]
            if found:
                return found[0]
            young = self.engine.settle_s - entry.age_s
            if young <= 0:
                break
            time.sleep(young)
        return None

    def _reach(self, call: Callable[[], T]) -> T:
        pause = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except ServiceUnavailableError as error:
                if attempt == ATTEMPTS:
                    raise ServiceUnavailableError(
                        f"{error}; nothing is lost: 'qbench hardware resume {self.place}' goes on"
                    ) from None
                time.sleep(pause)
                pause *= 2
        raise AssertionError

    def _keep(self, key: str, job: Job, result: JobResult) -> None:
        counts, wanted = result.counts, (job.circuits, job.program.outcomes)
        if counts.shape != wanted or not bool((counts.sum(1) == job.shots).all()):
            raise VerificationError(
                f"job {job.name} gave counts {counts.shape} of {int(counts.sum())} shots, expected "
                f"{wanted} of {job.circuits} x {job.shots}"
            )
        name, content = f"{key}.npz", to_npz({"counts": counts})
        write_atomically(self.folder / name, content)
        self.ledger.collected(
            key,
            counts=name,
            counts_sha256=hashlib.sha256(content).hexdigest(),
            finished=result.finished,
            used_s=result.seconds,
        )

    def _failure(self, entry: Entry) -> JobFailedError:
        return JobFailedError(
            f"job {entry.failed[-1]} ({entry.name}) failed: {entry.reason}; "
            f"'qbench hardware resume {self.place} --retry-failed' hands it in again"
        )
