"""`qbench leaderboard site` and `qbench serve`: the leaderboard as a site that one can explore."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """The site, as files and on this machine."""
    yield CommandSpec(
        name="leaderboard site",
        description="write a site that one can explore",
        factory="qbench_site.command:site",
    )
    yield CommandSpec(
        name="serve",
        description="show the site of an archive on this machine",
        factory="qbench_site.command:serve",
    )
