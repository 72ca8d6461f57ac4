"""The hooks a plugin may implement; each returns an iterable of frozen specs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from qbench.specs import (
        AttackSpec,
        CertifierSpec,
        CommandSpec,
        DatasetSpec,
        EngineSpec,
        ModelSpec,
        ProtocolSpec,
    )

hookspec = pluggy.HookspecMarker("qbench")
hookimpl = pluggy.HookimplMarker("qbench")


@hookspec
def qbench_models() -> Iterable[ModelSpec]:
    """Classifiers."""
    raise NotImplementedError


@hookspec
def qbench_attacks() -> Iterable[AttackSpec]:
    """Attacks."""
    raise NotImplementedError


@hookspec
def qbench_certifiers() -> Iterable[CertifierSpec]:
    """Certifiers."""
    raise NotImplementedError


@hookspec
def qbench_engines() -> Iterable[EngineSpec]:
    """Engines that circuits run on."""
    raise NotImplementedError


@hookspec
def qbench_datasets() -> Iterable[DatasetSpec]:
    """Data sets."""
    raise NotImplementedError


@hookspec
def qbench_protocols() -> Iterable[ProtocolSpec]:
    """Protocols: what is measured, as TOML files."""
    raise NotImplementedError


@hookspec
def qbench_commands() -> Iterable[CommandSpec]:
    """Subcommands of `qbench`, imported when they are called."""
    raise NotImplementedError
