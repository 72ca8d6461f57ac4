"""`qbench bench`: the engines beside other simulators, against the arithmetic, and at scale."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """One command, which also writes the documentation's page about performance."""
    yield CommandSpec(
        name="bench",
        description="time the engines beside other simulators, on this machine",
        factory="qbench_bench.command:bench",
    )
