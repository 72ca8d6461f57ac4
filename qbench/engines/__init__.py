"""Engines by name: `NAME` or `NAME:DEVICE`, with a number of shots or exact."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from qbench.engines.sampling import SampledEngine, check_shots
from qbench.errors import PluginError, UsageError
from qbench.interfaces import Engine
from qbench.registry import Registry, load_registry


def create_engine(
    text: str, shots: int | None = None, seed: int = 0, registry: Registry | None = None
) -> Engine:
    """The engine `NAME` or `NAME:DEVICE`, e.g. `torch`, `aer:marrakesh`.

    Shots are drawn from the engine's exact probabilities, unless it draws its own.

    Args:
        text: Name, and a device where the engine takes one.
        shots: Runs of each circuit; None for exact probabilities.
        seed: Of every draw.
        registry: Where engines are looked up; every installed plugin by default.

    Raises:
        UnknownNameError: There is no such engine or device.
        UsageError: A device for an engine that takes none, a number of shots below 1 or missing
            where the device can only sample, or a package that is not installed.
    """
    name, colon, device = text.partition(":")
    provided = (registry or load_registry()).get("engine", name)
    spec = provided.spec
    if colon and spec.devices is None:
        raise UsageError(f"engine {name!r} takes no device, got {text!r}: write {name!r}")
    if colon and not device:
        raise UsageError(f"engine {text!r} names no device: write {name!r} or '{name}:DEVICE'")
    check_shots(text, shots)
    own = {"device": device} if colon else {}
    if spec.samples:
        own |= {"shots": shots, "seed": seed}  # type: ignore[dict-item]
    engine = provided.create(**own)
    if not isinstance(engine, Engine):
        raise PluginError(
            f"plugin {provided.plugin!r}: {spec.factory} made a {type(engine).__name__}, which is "
            "no engine: it lacks name, exact, differentiable or probabilities"
        )
    return engine if shots is None or spec.samples else SampledEngine(engine, shots, seed)


def refuse_jobs(engine: Engine) -> None:
    """Raise `UsageError` for an engine that is paid by the job, where no ledger of jobs is kept."""
    if getattr(engine, "by_job", False):
        raise UsageError(
            f"engine {engine.name!r} is paid by the job: use 'qbench hardware run', which keeps a "
            "ledger of what was handed in"
        )


def engine_elsewhere(
    own: Engine, name: str | None, shots: int | None, seed: int, registry: Registry
) -> Engine:
    """The engine for circuits that run on `own` by themselves: one by name, their own with shots,
    or their own.

    Raises:
        UsageError, UnknownNameError: As `create_engine`; or the engine is paid by the job, or is
            to be sampled and samples already.
    """
    if name is None:
        if shots is not None and getattr(own, "shots", None) is not None:
            raise UsageError(
                f"the model's engine, {own.name!r}, has shots already: leave shots out, or name "
                "the engine with them"
            )
        return own if shots is None else SampledEngine(own, shots, seed)
    made = create_engine(name, shots, seed, registry)
    refuse_jobs(made)
    return made


def engine_devices(name: str, registry: Registry | None = None) -> list[Mapping[str, Any]]:
    """What may follow an engine's name after a colon: one row a device, each with its `name`.

    Raises:
        UnknownNameError: There is no such engine.
        UsageError: A package that is not installed.
    """
    spec = (registry or load_registry()).get("engine", name).spec
    if spec.devices is None:
        return []
    module, _, attribute = spec.devices.partition(":")
    return list(getattr(importlib.import_module(module), attribute)())
