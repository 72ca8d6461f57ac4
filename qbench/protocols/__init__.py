"""What is measured, as data: frozen TOML files and their loader."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, cast

from qbench.errors import ProtocolError, UsageError
from qbench.hookspecs import hookimpl
from qbench.plugin_files import PluginFile
from qbench.registry import load_registry
from qbench.specs import Norm, ProtocolSpec, ThreatModel

if TYPE_CHECKING:
    from qbench.datasets.base import Dataset, Split

DEFAULT = "glyphs-linf-v1"


# SHA-256 of the files that ship: none of them ever changes.
_SHIPPED = {
    DEFAULT: "e90cfe1089ee8d1baed1da88458fa8b007b0ed15cfe4547f59b2abdac73e7253",
    "glyphs-l2-v1": "a416417c557e53560fcd84a1818594bea20e022bb6537c0545cf5b2954a56441",
    "digits-linf-v1": "d5508c49f8f8be9cf8deb663dd955cee6eb91d9bd4534e8f3ed349ab69b14bc5",
    "mnist4-linf-v1": "0151fd9d895da0147bbcd5f3a22afc93e8cb67c0cc07c9d601dc3d5a465bd622",
    "mnist-linf-v1": "24b81db7bef226b18ba2875cad445de839e3edddfea0b2113205efdea20d35eb",
    "wendlinger2024": "536e67b7d9519fa614bd59721f3108e515452b46f1c1b16df308b502941d9c28",
}


@hookimpl
def qbench_protocols() -> Iterable[ProtocolSpec]:
    """The leaderboard's protocols, and that of the reference paper's code."""
    for name, sha256 in _SHIPPED.items():
        yield ProtocolSpec(
            name=name,
            description=tomllib.loads(shipped(name).decode())["description"],
            factory="qbench.protocols:shipped",
            params={"name": name},
            sha256=sha256,
        )


def shipped(name: str) -> bytes:
    """The file of a protocol that ships with qbench."""
    return (resources.files(__package__) / f"{name}.toml").read_bytes()


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

    def images(self, dataset: Dataset, limit: int | None = None) -> Split:
        """The images that are attacked, in order and as a copy, at most `limit` of them."""
        # Listing protocols imports this module: nothing heavy before it is needed.
        import numpy as np

        from qbench.datasets.base import Split

        split: Split = getattr(dataset, self.split)
        order = np.arange(len(split.y))
        if self.permutation_seed is not None:
            order = np.random.default_rng(self.permutation_seed).permutation(len(order))
        order = order[: self.n][:limit]
        return Split(split.x[order], split.y[order])


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

    @property
    def first_attack(self) -> str | None:
        """The attack that it defines first: the one that probes and pictures show."""
        return next(iter(self.attacks), None)

    def in_norm(self, norm: Norm) -> Protocol:
        """The same images and box under another norm, for which it has no budgets and leaves every
        attack free; the protocol itself under its own norm."""
        return self if norm == self.norm else replace(self, norm=norm, eps=(), attacks={})

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


@lru_cache
def load_protocol(name: str, plugins: tuple[PluginFile, ...] = ()) -> Protocol:
    """Read a protocol and check that it is the frozen one.

    Raises:
        UnknownNameError: There is no such protocol.
        ProtocolError: Its file was changed, or is none.
    """
    provided = load_registry(plugins).get("protocol", name)
    content: bytes = provided.create()
    found = hashlib.sha256(content).hexdigest()
    if found != provided.spec.sha256:
        raise ProtocolError(
            f"the file of protocol {name!r} was changed: SHA-256 is {found}, pinned is "
            f"{provided.spec.sha256}; reinstall {provided.plugin}"
        )
    try:
        protocol = _read(content, found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"protocol {name!r} is no protocol: {error!r}") from error
    if protocol.name != name:
        raise ProtocolError(f"protocol {name!r} calls itself {protocol.name!r}")
    return protocol


def _read(content: bytes, sha256: str) -> Protocol:
    raw = tomllib.loads(content.decode())
    threat, data = raw["threat_model"], raw["dataset"]
    box = threat.get("box")
    return Protocol(
        name=raw["name"],
        description=raw["description"],
        sha256=sha256,
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
