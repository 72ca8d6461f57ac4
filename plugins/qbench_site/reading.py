"""The boards of an archive, and when their results were added."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from qbench.errors import StoreError, UnknownNameError
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.records.boards import board_name, folders, open_results
from qbench.records.results import Results, in_norm
from qbench.report.collect import collect
from qbench_site.content import Source


def read(archive: Path, plugins: Sequence[PluginFile] = ()) -> list[Source]:
    """Every board of an archive, the one with most models first.

    Args:
        archive: Its folder, or the folder of a run.
        plugins: Files that provide what its records name.

    Raises:
        StoreError: It holds no results, or damaged ones.
    """
    found = []
    for folder in folders(archive):
        results = open_results(folder)
        protocol = _protocol(results, plugins)
        for norm in _norms(results):
            board = results if norm is None else in_norm(results, norm)
            found.append((board_name(board, protocol), folder, board, protocol))
    named = [name for name, *_ in found]
    if len(set(named)) < len(named):
        raise StoreError(f"{archive} holds a board twice: {', '.join(sorted(named))}")
    found.sort(key=lambda one: (-len(one[2].cards), one[0]))
    return [
        Source(
            name=name,
            folder="" if place == 0 else f"boards/{name}/",
            results=results,
            board=collect(results, protocol=protocol),
            protocol=protocol,
            added=dict(_added(folder)),
            plugins=tuple(plugins),
        )
        for place, (name, folder, results, protocol) in enumerate(found)
    ]


def _norms(results: Results) -> list[str | None]:
    found = {record.task.norm for record in results.records if record.task.kind == "attack"}
    # With one norm of attacks, certificates in the other one stay on the board.
    return [*sorted(found)] if len(found) > 1 else [None]


def _protocol(results: Results, plugins: Sequence[PluginFile]) -> Protocol | None:
    try:
        return load_protocol(results.records[0].task.protocol.name, tuple(plugins))
    except UnknownNameError:
        return None


def _added(folder: Path) -> Iterator[tuple[str, str]]:
    """Model folders and the day of the last commit that touched them; none without git."""
    command = ["git", "log", "--format=%x00%cs", "--name-only", "--relative", "--", "."]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return
    seen: set[str] = set()
    for commit in done.stdout.split("\0") if done.returncode == 0 else ():
        day, *paths = commit.split("\n")
        for model in {path.split("/")[0] for path in paths if "/" in path} - seen:
            seen.add(model)
            yield model, day
