"""`qbench new`: a plugin to begin with, written as a distribution of its own."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """One command, which fills in the files beside this one."""
    yield CommandSpec(
        name="new",
        description="write a plugin to begin with",
        factory="qbench_template.command:new",
    )
