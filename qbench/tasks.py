"""A task is data: what to do, named by the hash of everything that determines the result."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from qbench.datasets.base import Dataset, Split, check_images
from qbench.protocols import Selection
from qbench.records import TaskKind
from qbench.registry import PluginFile, load_registry
from qbench.specs import Norm

TIME_LIMIT_S = 600.0
_PACKAGES = ("qbench-robustness", "torch", "numpy", "numba", "cvxpy")
_ENGINES = ("pennylane", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")  # where they are installed


@dataclass(frozen=True, kw_only=True)
class Task:
    """One unit of work.

    Args:
        kind: The stage.
        key: SHA-256 of everything that determines the result.
        needs: Keys of the tasks whose outcomes it reads.
        protocol: Name of the protocol.
        model, seed: The target.
        source: The model that adversarial images were made for; transfer only.
        attack, params, eps: What attacks, and the budget.
        label: The attack as it is shown: its name, and the parameters given with it.
        dataset: The data set; the protocol's when None.
        engine, shots: Where circuits run, and how often each; None for exact simulation.
        twin: Whether attacks see the exact twin instead of the engine.
        certifier: What certifies; None in a `lipschitz` task that no certifier covers.
        norm, budgets: What a `certification` speaks about.
        limit: How many of the protocol's images; None for all.
        zoo_sha256: Weights to take from the shipped zoo; None to train.
        time_limit_s: How long an attack may take; not part of the key.
        plugins: Plugins given as files.
    """

    kind: TaskKind
    key: str
    protocol: str
    model: str
    seed: int
    dataset: str | None = None
    needs: tuple[str, ...] = ()
    source: str | None = None
    attack: str | None = None
    label: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    eps: float | None = None
    engine: str | None = None
    shots: int | None = None
    twin: bool = False
    certifier: str | None = None
    norm: Norm | None = None
    budgets: tuple[float, ...] = ()
    limit: int | None = None
    zoo_sha256: str | None = None
    time_limit_s: float = TIME_LIMIT_S
    plugins: tuple[PluginFile, ...] = ()

    @property
    def title(self) -> str:
        """What it is, for progress and messages."""
        via = f" on inputs for {self.source}" if self.source else ""
        what = f" under {self.label}({self.eps:g})" if self.label and self.eps is not None else ""
        by = f" by {self.certifier}" if self.certifier else ""
        by += f" in {self.norm}" if self.norm else ""
        by += f" on {self.engine or 'the simulator'}" if self.engine or self.shots else ""
        by += f" with {self.shots} shots" if self.shots else ""
        return f"{self.kind} of {self.model} seed {self.seed}{what}{via}{by}"


@lru_cache(maxsize=4)
def load_data(name: str, plugins: tuple[PluginFile, ...] = ()) -> Dataset:
    """A data set by name, checked."""
    dataset: Dataset = load_registry(plugins).get("dataset", name).create()
    features = dataset.image_shape[0] * dataset.image_shape[1]
    for split in (dataset.train, dataset.test):
        check_images(split.x, split.y, features, len(dataset.classes))
    return dataset


def select(dataset: Dataset, selection: Selection, limit: int | None) -> Split:
    """The images that a protocol attacks, at most `limit` of them."""
    split: Split = getattr(dataset, selection.split)
    order = np.arange(len(split.y))
    if selection.permutation_seed is not None:
        order = np.random.default_rng(selection.permutation_seed).permutation(len(order))
    order = order[: selection.n][:limit]
    return Split(split.x[order], split.y[order])


@lru_cache(maxsize=2)
def environment(engines: bool = False) -> dict[str, str]:
    """Versions of the packages that matter to a result, with those of other engines or without."""
    versions = {"python": platform.python_version()}
    for package in (*_PACKAGES, *(_ENGINES if engines else ())):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
