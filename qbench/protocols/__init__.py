"""What is measured, as data: frozen TOML files and their loader."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, cast

from qbench.errors import ProtocolError, UnknownNameError, UsageError
from qbench.specs import Norm, ThreatModel

_PINNED = {
    "glyphs-linf-v1": "e90cfe1089ee8d1baed1da88458fa8b007b0ed15cfe4547f59b2abdac73e7253",
    "wendlinger2024": "536e67b7d9519fa614bd59721f3108e515452b46f1c1b16df308b502941d9c28",
}


@dataclass(frozen=True)
class Selection:
    """Which images of a data set are attacked, in order.

    Args:
        dataset: Name of the data set.
        split: `"train"` or `"test"`.
        permutation_seed: Seed of `numpy.random.default_rng` whose permutation reorders the split,
            or None for the stored order.
        n: How many images are taken from the front, or None for all.
    """

    dataset: str
    split: Literal["train", "test"]
    permutation_seed: int | None = None
    n: int | None = None


@dataclass(frozen=True)
class Protocol:
    """One way to measure robustness.

    Args:
        name, description: As listed.
        sha256: Of the protocol's file.
        seeds: Seeds each model is trained with.
        selection: The images.
        norm, box: Of the threat model.
        eps: Perturbation budgets.
        ranking_eps: The budget that ranks models and at which transfer is measured.
        attacks: Parameters of attacks by name, before those for single budgets.
    """

    name: str
    description: str
    sha256: str
    seeds: tuple[int, ...]
    selection: Selection
    norm: Norm
    box: tuple[float, float] | None
    eps: tuple[float, ...]
    ranking_eps: float
    attacks: Mapping[str, Mapping[str, Any]]

    def threat_model(self, eps: float) -> ThreatModel:
        """The threat model at one budget.

        Raises:
            UsageError: ε is negative or not a number.
        """
        if not math.isfinite(eps) or eps < 0:
            raise UsageError(f"ε must be a number of at least 0, got {eps}")
        return ThreatModel(norm=self.norm, eps=eps, box=self.box)

    def attack_params(self, attack: str, eps: float) -> dict[str, Any]:
        """Parameters of an attack at one budget; empty for an attack it leaves free."""
        params = dict(self.attacks.get(attack, {}))
        for override in params.pop("at", []):
            if override["eps"] == eps:
                params |= {key: value for key, value in override.items() if key != "eps"}
        return params


def protocol_names() -> list[str]:
    """Every protocol that ships with qbench."""
    return sorted(_PINNED)


@lru_cache
def load_protocol(name: str) -> Protocol:
    """Read a protocol and check that it is the frozen one.

    Raises:
        UnknownNameError: There is no such protocol.
        ProtocolError: Its file was changed.
    """
    if name not in _PINNED:
        raise UnknownNameError("protocol", name, _PINNED)
    file = resources.files(__package__) / f"{name}.toml"
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _PINNED[name]:
        raise ProtocolError(
            f"protocol file {file} was changed: SHA-256 is {found}, pinned is {_PINNED[name]}; "
            "reinstall qbench-robustness"
        )
    raw = tomllib.loads(content.decode())
    threat, data = raw["threat_model"], raw["dataset"]
    box = threat.get("box")
    return Protocol(
        name=raw["name"],
        description=raw["description"],
        sha256=found,
        seeds=tuple(raw["seeds"]),
        selection=Selection(
            dataset=data["name"],
            split=data["split"],
            permutation_seed=data.get("permutation_seed"),
            n=data.get("n"),
        ),
        norm=threat["norm"],
        box=cast("tuple[float, float] | None", tuple(box) if box else None),
        eps=tuple(threat["eps"]),
        ranking_eps=raw["ranking"]["eps"],
        attacks=raw.get("attacks", {}),
    )
