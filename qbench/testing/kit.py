"""From what is to be checked to its checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qbench.registry import load_registry
from qbench.testing.check import Check, require
from qbench.testing.target import Target

if TYPE_CHECKING:
    from torch import Tensor


def checks_of(target: Target, weights: Mapping[str, Tensor] | None = None) -> list[Check]:
    """Everything that must hold of an object; nothing is run yet.

    Args:
        target: The object.
        weights: A model's trained weights; it is checked as its factory makes it if None.
    """
    # torch takes seconds to import: not before something is to be checked.
    from qbench.testing import attacks, certifiers, datasets, engines, models

    if target.kind == "model":
        return models.checks(target, weights)
    if target.kind == "attack":
        return attacks.checks(target)
    if target.kind == "certifier":
        return certifiers.checks(target)
    if target.kind == "engine":
        return engines.checks(target)
    if target.kind == "dataset":
        return datasets.checks(target)
    return [Check(str(target), "loads", lambda: _loads(target))]


def _loads(target: Target) -> str:
    """A protocol or a command: that it is one."""
    import click

    from qbench.protocols import load_protocol

    if target.kind == "protocol":
        return f"frozen as {load_protocol(target.name, target.plugins).sha256[:12]}"
    made = load_registry(target.plugins).get("command", target.name).spec.resolve()
    require(
        isinstance(made, click.Command),
        f"its factory is a {type(made).__name__}, not a click.Command",
    )
    return ""
