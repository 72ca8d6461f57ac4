"""`qbench reproduce`: a paper redone, and what of it holds."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """Reproductions."""
    yield CommandSpec(
        name="reproduce",
        description="redo a paper and judge what it says",
        factory="qbench_reproduction.command:reproduce",
    )
