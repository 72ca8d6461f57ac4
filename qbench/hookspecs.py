"""The hooks a plugin may implement; each returns an iterable of frozen specs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from qbench.specs import AttackSpec, CertifierSpec, DatasetSpec, EngineSpec, ModelSpec

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
