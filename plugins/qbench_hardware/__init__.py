"""`qbench hardware`: one model on a device that takes jobs, with a ledger of every job.

`interface` is what engines of such devices implement, and is public. `ledger` and `submitter` hand
jobs in and collect them so that a crash loses none and pays for none twice; `plan`, `run`,
`device_attack`, `measurement` and `workflow` turn a selection into jobs, and counts into records.
"""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import CommandSpec


@hookimpl
def qbench_commands() -> Iterable[CommandSpec]:
    """The command."""
    yield CommandSpec(
        name="hardware",
        description="evaluate a model on a quantum device, real or fake",
        factory="qbench_hardware.command:hardware",
    )
