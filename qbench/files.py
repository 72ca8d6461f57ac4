"""Files that are never half written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qbench.errors import StoreError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either the old or the new one whenever the process is killed."""
    with explained(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name per file, so that what a kill leaves behind is overwritten by the next run.
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an operating system's error into one line that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}; choose another --out or free space") from error
