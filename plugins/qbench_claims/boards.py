"""The boards of a folder, one a protocol."""

from __future__ import annotations

from pathlib import Path

from qbench.errors import StoreError
from qbench.records.boards import folders, open_results
from qbench.records.results import Results


def read_boards(folder: Path) -> dict[str, Results]:
    """The results of a run or an archive, by the name of their protocol.

    Raises:
        StoreError: There are none, they are damaged, or two boards have one protocol.
    """
    found: dict[str, Results] = {}
    for results in map(open_results, folders(folder)):
        protocol = next(iter(results.records)).task.protocol.name
        if protocol in found:
            raise StoreError(f"{folder} holds two boards of protocol {protocol}: name one of them")
        found[protocol] = results
    return found
