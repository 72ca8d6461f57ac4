"""Where a result comes from: the model's card, versions of packages and plugins, hashes."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from torch import nn

from qbench.model_names import OWN
from qbench.provided import Provided
from qbench.records import identity
from qbench.records.record import Card, Recipe
from qbench.registry import Registry
from qbench.specs import ModelSpec
from qbench.text import one_line
from qbench.weights.files import fingerprint

_PACKAGES = ("qbench-robustness", "torch", "numpy", "numba", "cvxpy")
_ENGINES = ("pennylane", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")  # where they are installed


def card_of(provided: Provided[ModelSpec], parameters: int | None) -> Card:
    """The facts about a model that its spec states."""
    spec = provided.spec
    tuning = spec.tuning
    if not tuning and spec.weights is not None:
        tuning = "not trained here: its weights were handed in"
    elif not tuning and spec.train is not None:
        tuning = f"trained by its own {spec.train}"
    return Card(
        name=spec.name,
        revision=spec.revision,
        family=spec.family,
        structure=one_line(spec.structure),
        description=one_line(spec.description),
        plugin=one_line(provided.plugin),
        version=one_line(provided.version),
        parameters=parameters,
        recipe=Recipe(**spec.recipe.stated()),
        variant_of=spec.variant_of,
        tuning=one_line(tuning),
        stochastic=spec.stochastic,
        engine=spec.engine,
        paper=one_line(spec.paper),
        licence=one_line(spec.licence),
        authors=one_line(spec.authors),
    )


def on_own_engine(engine: identity.Engine | None, spec: ModelSpec) -> bool:
    """Whether a task asks for the engine that its model has by itself, with shots or without."""
    return engine is None or engine.name in (spec.engine, OWN)


def by_itself(engine: identity.Engine | None, spec: ModelSpec) -> bool:
    """Whether a task needs nothing but the model: its own engine, without shots."""
    return on_own_engine(engine, spec) and (engine is None or engine.shots is None)


def environment_of(named: Any, registry: Registry) -> dict[str, str]:
    """Versions of the packages and plugins that a task with this identity runs with."""
    parts: list[Provided[Any]] = [registry.get("model", named.model.name)]
    kinds: tuple[Literal["attack", "certifier"], ...] = ("attack", "certifier")
    for kind in kinds:
        method = getattr(named, kind, None)
        if method is not None:
            parts.append(registry.all(kind)[method.name])
    engine: identity.Engine | None = getattr(named, "engine", None)
    other = not on_own_engine(engine, parts[0].spec)
    if engine is not None and other:
        parts.append(registry.get("engine", engine.name.partition(":")[0]))
    return {
        **packages(engines=other),
        **{one_line(part.plugin): one_line(part.version) for part in parts},
    }


def packages(*, engines: bool = False) -> dict[str, str]:
    """Versions of the packages that matter to a result, with those of other engines or without."""
    names = (*_PACKAGES, *(_ENGINES if engines else ()))
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def parameters_of(model: nn.Module) -> int:
    """How many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def weights_of(model: nn.Module) -> str:
    """Fingerprint of a model's weights."""
    return fingerprint(model.state_dict())
