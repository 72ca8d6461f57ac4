"""The boards of a folder, one a protocol."""

from __future__ import annotations

from pathlib import Path

from qbench.errors import StoreError
from qbench.records.archive import Archive
from qbench.records.boards import boards, open_results
from qbench.records.results import Results
from qbench.records.store import FILE


def read_boards(folder: Path) -> dict[str, Results]:
    """The results of a run or an archive, by the name of their protocol.

    Raises:
        StoreError: There are none, they are damaged, or two boards have one protocol.
    """
    run = (folder / FILE).is_file()
    each = [open_results(folder)] if run else [Archive.read(b).results() for b in boards(folder)]
    found: dict[str, Results] = {}
    for results in each:
        protocol = next(iter(results.records)).task.protocol.name
        if protocol in found:
            raise StoreError(f"{folder} holds two boards of protocol {protocol}: name one of them")
        found[protocol] = results
    return found
