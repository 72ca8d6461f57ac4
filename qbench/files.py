"""Files that are never half written, and never written or read through somebody else's links."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qbench.errors import StoreError

LARGEST = 64 * 2**20  # bytes of a file that is read whole


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either the old or the new one, whenever the machine stops.

    The folder is made if there is none. A link in the file's place is replaced, not followed.

    Raises:
        StoreError: It cannot be written, or the disk is full.
    """
    with explained(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made exclusively, under a name nobody can guess.
        handle, temporary = tempfile.mkstemp(prefix=".qbench-", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def own_folder(path: Path) -> Path:
    """A folder inside another one of ours, made if there is none.

    Raises:
        StoreError: It is a link or no folder: whatever is written there would land elsewhere.
    """
    with explained(f"cannot write {path}"):
        path.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or not path.is_dir():
            raise StoreError(f"{path} is a link: remove it, nothing is written through links")
    return path


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """A regular file, not a link, a pipe or a device, and not larger than a limit.

    Raises:
        StoreError: It is not, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    except OSError as error:
        link = " (a link)" if path.is_symlink() else ""
        raise StoreError(f"cannot read {path}{link}: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{path} is no regular file: remove it")
        if about.st_size > largest:
            raise StoreError(f"{path} is larger than {largest >> 20} MiB")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise StoreError(f"{path} is larger than {largest >> 20} MiB")
    return content


def sync_folder(folder: Path) -> None:
    """Make sure that what was renamed in a folder stays so after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for writing; released even by a kill.

    Raises:
        StoreError: The folder cannot be written, or another process holds it.
    """
    with explained(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another run is writing to {folder}: wait, or choose another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an operating system's error into one line that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}; choose another --out or free space") from error
