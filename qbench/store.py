"""Records and artifacts on disk: content-addressed, written atomically, checked when read."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from qbench.errors import StoreError
from qbench.files import explained, write_atomically
from qbench.records import FileRef, Record

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """A finished task: its record and the bytes of the files that the record refers to."""

    record: Record
    files: Mapping[str, bytes] = field(default_factory=dict)


class Store:
    """A folder of results.

    `records/MODEL/KEY.json` and the side file `KEY.npz` beside it are what a leaderboard is made
    of; `artifacts/KEY.*` holds weights and adversarial inputs that later tasks read. A record is
    written after its files, so whatever has a record is complete.

    Args:
        root: The folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; released even by a kill.

        Raises:
            StoreError: The folder cannot be written, or another run holds it.
        """
        with explained(f"cannot write to {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(
                f"another run is writing to {self.root}: wait, or choose another --out"
            ) from None
        try:
            yield
        finally:
            os.close(lock)

    def find(self, model: str, key: str) -> Record | None:
        """The record of a task, or None when it has none yet."""
        path = self._record_path(model, key)
        return _read_record(path) if path.is_file() else None

    def records(self) -> list[Record]:
        """Every record, in a fixed order.

        Raises:
            StoreError: There is none, or one is damaged.
        """
        paths = sorted((self.root / "records").glob("*/*.json"))
        if not paths:
            raise StoreError(
                f"no records in {self.root}: run 'qbench run' first, or name its --out folder"
            )
        return [_read_record(path) for path in paths]

    def read(self, record: Record, ref: FileRef) -> bytes:
        """The bytes of a file that a record refers to, checked against their SHA-256."""
        path = self._path(record, ref)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"cannot read {path}: {error.strerror}; delete {record.key}.json and run again"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != ref.sha256:
            raise StoreError(
                f"{path} is damaged: SHA-256 is {found}, its record says {ref.sha256}; "
                "delete both and run again"
            )
        return content

    def images(self, record: Record) -> dict[str, NDArray[Any]]:
        """The per-image outcomes of a record, one array a column."""
        if record.images is None:
            raise StoreError(f"record {record.key} has no per-image outcomes")
        return from_npz(self.read(record, record.images))

    def has_files(self, record: Record) -> bool:
        """Whether the files that a record refers to are there (artifacts may have been removed)."""
        refs = [ref for ref in (record.artifact, record.images) if ref is not None]
        return all(self._path(record, ref).is_file() for ref in refs)

    def outcome(self, record: Record) -> Outcome:
        """A stored task with its files, as a later one reads it."""
        refs = [ref for ref in (record.artifact, record.images) if ref is not None]
        return Outcome(record, {ref.file: self.read(record, ref) for ref in refs})

    def write(self, outcome: Outcome) -> None:
        """Store a finished task.

        Raises:
            StoreError: The folder cannot be written or is full.
        """
        record = outcome.record
        for ref in (record.artifact, record.images):
            if ref is not None:
                write_atomically(self._path(record, ref), outcome.files[ref.file])
        path = self._record_path(record.target.model, record.key)
        write_atomically(path, record.to_json().encode())

    def publish(self, source: Store, records: Sequence[Record]) -> None:
        """Make this folder hold these records of `source` with their side files, and no others.

        Artifacts stay behind: what they say is in the side files.
        """
        if self.root.resolve() == source.root.resolve():
            return
        for record in records:
            files = {}
            if record.images is not None:
                files[record.images.file] = source.read(record, record.images)
            self.write(Outcome(record.model_copy(update={"artifact": None}), files))
        kept = {record.key for record in records}
        for path in (self.root / "records").glob("*/*"):
            if path.stem not in kept:
                path.unlink()

    def _record_path(self, model: str, key: str) -> Path:
        return self.root / "records" / model / f"{key}.json"

    def _path(self, record: Record, ref: FileRef) -> Path:
        if ref == record.images:
            return self.root / "records" / record.target.model / ref.file
        return self.root / "artifacts" / ref.file


def to_npz(arrays: Arrays) -> bytes:
    """Arrays as a compressed `.npz`; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def from_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz`; never unpickles."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def file_ref(name: str, content: bytes) -> FileRef:
    """Name a file's content."""
    return FileRef(file=name, sha256=hashlib.sha256(content).hexdigest())


def _read_record(path: Path) -> Record:
    try:
        record = Record.from_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StoreError(
            f"record {path} is damaged: {where}: {first['msg']}; delete it and run again"
        ) from error
    if record.key != path.stem:
        raise StoreError(
            f"record {path} is damaged: its key is {record.key}; delete it and run again"
        )
    return record
