"""The ledger: every job on record before it is handed in, and its id the moment there is one."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from qbench.errors import StoreError
from qbench.files import explained, read_file
from qbench.records.schema import Count, Positive, Sha256, Strict, Text
from qbench.records.store import first_error


class Entry(Strict):
    """What the ledger says of a job.

    Args:
        key: The job's hash; its tag at the service is `tag`.
        name, circuits, shots, seconds: The job, and the QPU time it was estimated at.
        at: When it was last intended.
        account: Who pays, as the service names it.
        versions, calibrated: Of the packages and the device, when it was first intended.
        status: `intended` without an id means: perhaps accepted, perhaps not.
        job_id: At the service; None for a job that ran in this process.
        failed: Ids of earlier attempts that failed.
        reason: Why the last one failed.
        counts_sha256: Of the file with its counts.
        finished, used_s: When it ran, and the QPU time it was charged with.
    """

    key: Sha256
    name: Text
    circuits: Count
    shots: Count
    seconds: Positive
    at: AwareDatetime
    account: Text | None = None
    versions: dict[str, Text] = Field(default_factory=dict)
    calibrated: Text | None = None
    status: Literal["intended", "submitted", "failed", "collected"] = "intended"
    job_id: Text | None = None
    failed: tuple[Text, ...] = ()
    reason: Text | None = None
    counts_sha256: Sha256 | None = None
    finished: Text | None = None
    used_s: Positive | None = None

    @property
    def tag(self) -> str:
        """The job's tag at the service."""
        return f"qbench-{self.key}"


class Ledger:
    """An append-only file of JSON lines, each on disk before the next step is taken.

    A kill can leave the last line half written: it is ignored, and what it said is asked of the
    service again. Whoever writes holds the run's folder, and has read the file since.

    Args:
        path: The file; made when first written to.

    Raises:
        StoreError: It is damaged anywhere but at its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        content = read_file(path) if os.path.lexists(path) else b""
        whole, newline, _torn = content.rpartition(b"\n")
        self._length = len(whole + newline)
        for number, line in enumerate(whole.split(b"\n") if newline else (), 1):
            try:
                entry = self._after(json.loads(line))
                self.entries[entry.key] = entry
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise StoreError(
                    f"ledger {path} is damaged in line {number} ({first_error(error)}): restore it "
                    "from a backup or remove it; the service is then asked for every job by its tag"
                ) from error

    def find(self, key: str) -> Entry | None:
        """What is known of a job, or None."""
        return self.entries.get(key)

    def intend(self, entry: Entry) -> Entry:
        """Put down that a job is about to be handed in, or handed in again after it failed."""
        return self._write("intended", entry.model_dump(mode="json", exclude_defaults=True))

    def submitted(self, key: str, job_id: str) -> Entry:
        """Put down the id of a job."""
        return self._write("submitted", {"key": key, "job_id": job_id})

    def failed(self, key: str, job_id: str, reason: str) -> Entry:
        """Put down that a job failed, and why."""
        return self._write("failed", {"key": key, "job_id": job_id, "reason": reason})

    def collected(self, key: str, **found: Any) -> Entry:
        """Put down that a job's counts are here: `counts_sha256`, `finished`, `used_s`."""
        return self._write("collected", {"key": key, **found})

    def _write(self, event: str, about: dict[str, Any]) -> Entry:
        line = json.dumps({"event": event, **about}, sort_keys=True).encode() + b"\n"
        entry = self._after(json.loads(line))
        mode = "r+b" if self.path.exists() else "xb"
        with explained(f"cannot write {self.path}"), self.path.open(mode) as file:
            file.truncate(self._length)
            file.seek(self._length)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._length += len(line)
        self.entries[entry.key] = entry
        return entry

    def _after(self, about: dict[str, Any]) -> Entry:
        """What is known of a job after an event."""
        status = about.pop("event")
        started = status != "intended"
        before = self.entries[about["key"]].model_dump(mode="json") if started else {}
        if status == "failed":
            about["failed"] = [*before["failed"], about["job_id"]]
        text = json.dumps({**before, **about, "status": status})
        return Entry.model_validate_json(text)


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
