"""`qbench claims`: what papers say of quantum classifiers' robustness, and what we measure."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """The ledger of claims."""
    yield CommandSpec(
        name="claims",
        description="judge what papers claim by measured results",
        factory="qbench_claims.command:claims",
    )
