"""The ledger: every job on record before it is handed in, and its id the moment there is one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from qbench.errors import StoreError
from qbench.files import explained

Standing = Literal["intended", "submitted", "failed", "collected"]


@dataclass(frozen=True)
class Entry:
    """What the ledger says of a job.

    Args:
        key: The job's hash; its tag at the service is `tag`.
        name, circuits, shots, seconds: The job, and the QPU time it was estimated at.
        at: When it was last intended, ISO 8601.
        versions, calibrated: Of the packages and the device, when it was first intended.
        standing: `intended` without an id means: perhaps accepted, perhaps not.
        job_id: At the service; None for a job that ran in this process.
        failed: Ids of earlier attempts that failed.
        reason: Why the last one failed.
        counts: Name of the file with its counts.
        counts_sha256: Of that file.
        finished, used_s: When it ran, and the QPU time it was charged with.
    """

    key: str
    name: str
    circuits: int
    shots: int
    seconds: float
    at: str
    versions: dict[str, str] = field(default_factory=dict)
    calibrated: str | None = None
    standing: Standing = "intended"
    job_id: str | None = None
    failed: tuple[str, ...] = ()
    reason: str | None = None
    counts: str | None = None
    counts_sha256: str | None = None
    finished: str | None = None
    used_s: float | None = None

    @property
    def tag(self) -> str:
        """The job's tag at the service."""
        return f"qbench-{self.key}"

    @property
    def age_s(self) -> float:
        """Seconds since it was intended."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()


class Ledger:
    """An append-only file of JSON lines, each on disk before the next step is taken.

    A kill can leave the last line half written: it is ignored, and what it said is asked of the
    service again.

    Args:
        path: The file; made when first written to.

    Raises:
        StoreError: It is damaged anywhere but at its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._length = 0
        for number, line in enumerate(self._lines(), 1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"ledger {path} is damaged in line {number} ({type(error).__name__}): restore "
                    "it from a backup; without it jobs would be paid for again"
                ) from error

    def find(self, key: str) -> Entry | None:
        """What is known of a job, or None."""
        return self.entries.get(key)

    def intend(self, entry: Entry) -> None:
        """Put down that a job is about to be handed in, or handed in again after it failed."""
        about = {name: value for name, value in vars(entry).items() if value not in (None, ())}
        self._write({"event": "intended", **about, "standing": "intended"})

    def submitted(self, key: str, job_id: str) -> None:
        """Put down the id of a job."""
        self._write({"event": "submitted", "key": key, "job_id": job_id})

    def failed(self, key: str, job_id: str, reason: str) -> None:
        """Put down that a job failed, and why."""
        self._write({"event": "failed", "key": key, "job_id": job_id, "reason": reason})

    def collected(self, key: str, **found: Any) -> None:
        """Put down where a job's counts are: `counts`, `counts_sha256`, `finished`, `used_s`."""
        self._write({"event": "collected", "key": key, **found})

    def _lines(self) -> list[bytes]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}") from error
        whole, _, _torn = content.rpartition(b"\n")
        self._length = len(whole) + 1 if whole else 0
        return whole.split(b"\n") if whole else []

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps({**event, "written": now()}, sort_keys=True).encode() + b"\n"
        with explained(f"cannot write {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "xb") as file:
                file.truncate(self._length)
                file.seek(self._length)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        self._length += len(line)
        self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        key, kind = event["key"], event["event"]
        rest = {k: v for k, v in event.items() if k not in ("event", "key", "written")}
        if kind == "intended":
            rest["failed"] = tuple(rest.get("failed", ()))
            self.entries[key] = Entry(key=key, **rest)
            return
        entry = self.entries[key]
        if kind == "failed":
            rest = {"failed": (*entry.failed, rest["job_id"]), "reason": rest["reason"]}
        self.entries[key] = replace(entry, standing=kind, **rest)


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
