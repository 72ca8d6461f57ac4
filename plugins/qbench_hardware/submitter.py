"""Hands jobs in once, whatever happens between, and keeps what comes back.

The service may have taken a job whose id never arrived, because the process was killed or the line
dropped, or whose id was lost with the ledger. So a job is on the ledger before it is handed in, its
hash is its tag at the service, and the service is asked for that tag before anything is handed in.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar, get_args

import tenacity

from qbench.errors import StoreError, VerificationError
from qbench.files import read_file, write_atomically
from qbench.records.columns import from_npz, to_npz
from qbench.text import one_line
from qbench_hardware.interface import (
    Counts,
    Job,
    JobEngine,
    JobResult,
    JobState,
    ServiceError,
    ServiceUnavailableError,
    State,
)
from qbench_hardware.ledger import Entry, Ledger, now

T = TypeVar("T")
Said = Callable[[str], None]

ATTEMPTS = 5  # to reach the service
FIRST_PAUSE_S = 2.0  # between them, doubling


class JobFailedError(ServiceError):
    """A job that the service did not carry out."""


class JobSubmitter:
    """Submits and collects the jobs of one run.

    Args:
        engine: Runs them.
        ledger: On record; read since the run's folder is held.
        root: The run's folder; counts are kept below it.
        run: Id of the run.
        resumed: Whether an earlier process began the run, and so may have handed in jobs that
            the ledger does not tell of and the service does not list yet.
    """

    def __init__(
        self, engine: JobEngine, ledger: Ledger, root: Path, run: str, *, resumed: bool
    ) -> None:
        self.engine, self.ledger, self.root, self.run = engine, ledger, root, run
        self._listed_at = time.monotonic() + engine.settle_s if resumed else 0.0

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
        self._check_inputs(job, key)
        entry = self.ledger.find(key)
        if entry is not None and entry.status == "failed" and not retry_failed:
            raise self._failure(entry)
        if entry is None or entry.status == "failed":
            entry = self._intend(job, key, entry)
        elif entry.job_id is not None or self.counts(job) is not None:
            return entry
        if self.engine.local:
            return self._keep(entry, job, self.engine.run(job))
        return self.ledger.submitted(key, self._hand_in(job, entry))

    def collect(self, job: Job) -> bool:
        """Fetch a job's counts if it is done; whether they are here.

        Raises:
            JobFailedError: It failed.
            ServiceError: The service refuses, or cannot be reached.
            StoreError: The ledger names another job.
        """
        entry = self.entry(job)
        if entry is None or entry.status == "intended":
            return False
        if entry.status == "failed":
            raise self._failure(entry)
        if self.counts(job) is not None:
            return True
        job_id = entry.job_id
        if job_id is None:  # ran in this process, and its file is gone: run it again
            return False
        state = self.state(entry)
        if state.state == "failed":
            reason = one_line(state.reason or "") or "no reason given"
            raise self._failure(self.ledger.failed(entry.key, job_id, reason))
        if state.state != "done":
            return False
        self._keep(entry, job, self._reach(lambda: self.engine.result(job_id)))
        return True

    def state(self, entry: Entry) -> JobState:
        """Where a job that was submitted stands at the service.

        Raises:
            ServiceError: The service refuses, cannot be reached, or gives an unknown state.
            StoreError: The job with this id is another one.
        """
        job_id = entry.job_id or ""
        state = self._reach(lambda: self.engine.state(job_id))
        if entry.tag not in state.tags:
            raise StoreError(
                f"ledger {self.ledger.path} says that {entry.name} is job {job_id}, which was "
                "handed in under another tag: restore the ledger, or remove it to have the "
                "service asked for every job by its tag"
            )
        if state.state not in get_args(State):
            raise ServiceError(
                f"job {job_id} ({entry.name}) is in a state that is not known here, "
                f"{one_line(str(state.state), 60)!r}: look at it at the service; nothing is lost, "
                f"'qbench hardware resume {self.root}' goes on"
            )
        return state

    def counts(self, job: Job) -> Counts | None:
        """A job's counts (circuits, outcomes), if they are here and undamaged."""
        entry = self.entry(job)
        if entry is None or entry.counts_sha256 is None:
            return None
        path = self._path(entry)
        try:
            content = read_file(path)
            if hashlib.sha256(content).hexdigest() != entry.counts_sha256:
                return None
            found = from_npz(content, str(path))["counts"]
        except (StoreError, KeyError):
            return None
        return found if _fit(found, job) else None

    def carry_out(
        self,
        jobs: Sequence[Job],
        said: Said,
        *,
        submit: bool = True,
        retry_failed: bool = False,
        wait: bool = True,
    ) -> bool:
        """Hand in and collect jobs; whether all are here.

        Every job that can be handed in and collected is, before a failed one is reported; after a
        failure at handing in, nothing is waited for.

        Raises:
            JobFailedError, ServiceError, StoreError: As `submit` and `collect`.
        """
        failures, waiting = [], list(jobs)
        for job in jobs if submit else ():
            before = self.entry(job)
            try:
                entry = self.submit(job, retry_failed=retry_failed)
            except JobFailedError as error:
                failures.append(error)
                continue
            if before is None or before.job_id != entry.job_id:
                said(f"{job.name}: {job.circuits} circuits, {entry.job_id or 'run locally'}")
        wait = wait and not failures
        while waiting:
            for job in tuple(waiting):
                try:
                    if not self.collect(job):
                        continue
                except JobFailedError as error:
                    failures.append(error)
                waiting.remove(job)
                said(f"{job.name}: {len(waiting)} jobs left")
            if not wait or not waiting:
                break
            time.sleep(self.engine.poll_s)
        if failures:
            raise failures[0]
        return not waiting

    def _check_inputs(self, job: Job, key: str) -> None:
        for entry in self.ledger.entries.values():
            if entry.name == job.name and entry.key != key:
                packages = ", ".join(f"{name} {v}" for name, v in entry.versions.items())
                raise StoreError(
                    f"job {job.name} of {self.root} was handed in with other inputs than it has "
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
            account=self.engine.account,
            versions=dict(about.get("versions", {})),
            calibrated=about.get("calibrated"),
            failed=before.failed if before else (),
        )
        return self.ledger.intend(entry)

    def _hand_in(self, job: Job, entry: Entry) -> str:
        listed_at = self._listed_at

        def attempt() -> str:
            nonlocal listed_at
            found = self._find(entry, listed_at)
            # If the line drops now, nobody knows whether the service has the job.
            listed_at = time.monotonic() + self.engine.settle_s
            return found or self.engine.submit(job, entry.tag)

        return self._reach(attempt)

    def _find(self, entry: Entry, listed_at: float) -> str | None:
        """The oldest job under a tag that did not fail, once every job must be listed."""
        for _ in range(2):
            found = [job_id for job_id in self.engine.find(entry.tag) if job_id not in entry.failed]
            left = listed_at - time.monotonic()
            if found or left <= 0:
                return found[0] if found else None
            time.sleep(left)
        return None

    def _reach(self, call: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ServiceUnavailableError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(FIRST_PAUSE_S),
            reraise=True,
        )
        try:
            return retrying(call)
        except ServiceUnavailableError as error:
            raise ServiceUnavailableError(
                f"{error}; nothing is lost: 'qbench hardware resume {self.root}' goes on"
            ) from None

    def _keep(self, entry: Entry, job: Job, result: JobResult) -> Entry:
        counts = result.counts
        if not _fit(counts, job):
            raise VerificationError(
                f"job {job.name} gave counts {counts.shape} of {int(counts.sum())} shots, expected "
                f"{(job.circuits, job.program.outcomes)} of {job.circuits} x {job.shots}"
            )
        content = to_npz({"counts": counts})
        write_atomically(self._path(entry), content)
        return self.ledger.collected(
            entry.key,
            counts_sha256=hashlib.sha256(content).hexdigest(),
            finished=_time(job, result.finished),
            used_s=_seconds(result.seconds),
        )

    def _path(self, entry: Entry) -> Path:
        return self.root / "hardware" / "counts" / f"{entry.key}.npz"

    def _failure(self, entry: Entry) -> JobFailedError:
        return JobFailedError(
            f"job {entry.failed[-1]} ({entry.name}) failed: {entry.reason}; "
            f"'qbench hardware resume {self.root} --retry-failed' hands it in again"
        )


def _fit(counts: Counts, job: Job) -> bool:
    wanted = (job.circuits, job.program.outcomes)
    return counts.shape == wanted and bool((counts.sum(1) == job.shots).all() and counts.min() >= 0)


def _seconds(used: object) -> float | None:
    return float(used) if isinstance(used, int | float) and 0 <= used < 1e9 else None


def _time(job: Job, text: object) -> str | None:
    """A time as the service gives it; one that is none is no reason to lose counts."""
    try:
        if text is None or datetime.fromisoformat(str(text)).tzinfo is not None:
            return None if text is None else str(text)
    except ValueError:
        pass
    shown = one_line(str(text), 60)
    logging.getLogger("qbench").warning("%s: %r is no time; left out", job.name, shown)
    return None
