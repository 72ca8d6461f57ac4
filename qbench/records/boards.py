"""The boards of an archive: which folders they are, what these are called, and reading one."""

from __future__ import annotations

from pathlib import Path

from qbench.errors import StoreError
from qbench.protocols import Protocol
from qbench.records.archive import Archive
from qbench.records.entry import CARD
from qbench.records.results import Results, attack_norm
from qbench.records.store import FILE, RunStore


def boards(root: Path) -> list[Path]:
    """The folders of protocols in an archive, or the folder itself where it is one.

    Raises:
        StoreError: It is no archive.
    """
    if not root.is_dir():
        raise StoreError(f"no archive in {root}: name the folder of a run or an archive")
    inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())
    if any((path / CARD).exists() for path in inside):
        return [root]
    found = [path for path in inside if any((p / CARD).exists() for p in path.iterdir())]
    if not found:
        raise StoreError(f"no results in {root}: name the folder of a run or an archive")
    return found


def board_name(results: Results, protocol: Protocol | None) -> str:
    """Name of the folder that results belong in: the protocol, and the norm of the attacks and the
    data where they are not its own.

    Raises:
        StoreError: The attacks are bounded in several norms.
    """
    task = next(r.task for r in results.records if r.task.kind != "training")
    norm, data = attack_norm(results), task.data.name
    own = protocol is None or norm in (None, protocol.norm)
    usual = protocol is None or data == protocol.selection.dataset
    return (
        task.protocol.name
        + ("" if own else f"-{norm}")
        + ("" if usual else f"-{folder_name(data)}")
    )


def folder_name(dataset: str) -> str:
    """The name of a data set as part of a folder's: some file systems know no colon."""
    return dataset.replace(":", "-")


def folders(path: Path) -> list[Path]:
    """What `open_results` reads one by one: the folder of a run, or each board of an archive.

    Raises:
        StoreError: It is neither.
    """
    return [path] if (path / FILE).is_file() else boards(path)


def open_results(path: Path) -> Results:
    """The results of a run's folder, or of an archive with one protocol.

    Raises:
        StoreError: There are none, or several protocols to choose from.
    """
    found = folders(path)
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise StoreError(f"{path} holds several boards: name one of {names}")
    if (path / FILE).is_file():
        return RunStore(path).results()
    return Archive.read(found[0]).results()
