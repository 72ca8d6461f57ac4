"""Arguments as people write them: norms, budgets, attacks, plugin files."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qbench.attack_strings import attack_label, parse_attack
from qbench.errors import Unsupported, UsageError
from qbench.interfaces import Attack
from qbench.plugin_files import PluginFile
from qbench.protocols import DEFAULT, load_protocol
from qbench.registry import Registry
from qbench.specs import Norm

_NORMS: Mapping[Norm, tuple[str, ...]] = {
    "linf": ("linf", "l_inf", "l-inf", "linfinity", "l∞", "ℓ∞", "inf", "infinity", "∞"),
    "l2": ("l2", "l_2", "l-2", "l₂", "ℓ2", "2", "2.0", "euclidean"),
}


@dataclass(frozen=True)
class AskedAttack:
    """One attack that was asked for.

    Args:
        label: As it is shown.
        name: In the registry; None for an attack that was handed in.
        params: Parameters that were given.
        instance: The attack that was handed in.
    """

    label: str
    name: str | None = None
    params: Mapping[str, Any] | None = None
    instance: Attack | None = None

    def needs_gradient(self, registry: Registry) -> bool:
        """Whether it says that it needs the model's gradient by the images."""
        return self.name is not None and registry.get("attack", self.name).spec.gradient

    def create(self, registry: Registry, norm: Norm, eps: float) -> Attack:
        """The attack at one budget, with the leaderboard's parameters where none are given.

        Raises:
            Unsupported: It cannot be bounded in this norm.
        """
        if self.instance is not None:
            return self.instance
        assert self.name is not None
        provided = registry.get("attack", self.name)
        if norm not in provided.spec.norms:
            norms = ", ".join(provided.spec.norms)
            raise Unsupported(f"{self.name} cannot be bounded in {norm!r}: it takes {norms}")
        usual = load_protocol(DEFAULT).attack_params(self.name, eps)
        attack: Attack = provided.create(**{**usual, **(self.params or {})})
        return attack


def read_norm(norm: object) -> Norm:
    """`"linf"` or `"l2"` from any common spelling of it, such as `"Linf"`, `inf` or 2.

    Raises:
        UsageError: It is another norm or none.
    """
    text = str(norm).strip().lower()
    for name, spellings in _NORMS.items():
        if text in spellings:
            return name
    raise UsageError(f'norm is "linf" or "l2", not {norm!r}')


def read_budgets(eps: Any) -> tuple[list[float], bool]:
    """Budgets ε, and whether several were asked for.

    Raises:
        UsageError: They are no numbers of at least 0.
    """
    several = np.ndim(eps) > 0 if not hasattr(eps, "dim") else eps.dim() > 0
    try:
        budgets = [float(one) for one in (eps if several else [eps])]
    except (TypeError, ValueError) as error:
        raise UsageError(f"ε must be a number or several, got {eps!r}") from error
    for one in budgets:
        if not math.isfinite(one) or one < 0:
            raise UsageError(f"ε must be a number of at least 0, got {one:g}")
    if not budgets:
        raise UsageError("ε: give at least one budget")
    return budgets, several


def read_attacks(
    attack: Any, params: Mapping[str, Any], registry: Registry
) -> tuple[list[AskedAttack], bool]:
    """Attacks, and whether several were asked for.

    Args:
        attack: A name, a name with parameters, an attack of one's own, or several of these.
        params: Parameters of the only attack, by name.
        registry: Where names are looked up.

    Raises:
        UnknownNameError: There is no attack of this name, or it has no such parameter.
        UsageError: It is no attack, or parameters belong to none of them.
    """
    several = isinstance(attack, list | tuple)
    attacks: Sequence[Any] = attack if several else [attack]
    if not attacks:
        raise UsageError("attack: give at least one")
    if params and (several or not isinstance(attack, str)):
        raise UsageError(
            f"{', '.join(params)}: parameters go with a single attack by name; of several write "
            'them as "pgd:steps=10"'
        )
    return [_read_attack(one, params, registry) for one in attacks], several


def _read_attack(attack: Any, params: Mapping[str, Any], registry: Registry) -> AskedAttack:
    if isinstance(attack, str):
        name, written = parse_attack(attack)
        given = {**written, **params}
        registry.get("attack", name).check_names(given)
        shown = {k: v for k, v in given.items() if v is None or isinstance(v, int | float | str)}
        return AskedAttack(attack_label(name, shown, {}), name, given)
    if isinstance(attack, type) or not callable(attack):
        what = attack.__name__ if isinstance(attack, type) else type(attack).__name__
        raise UsageError(
            f"attack is a name or a function attack(model, x, y, threat_model, generator), got "
            f"{'the class ' if isinstance(attack, type) else ''}{what}"
        )
    try:
        inspect.signature(attack).bind(*range(5))
    except TypeError as error:
        name = getattr(attack, "__name__", type(attack).__name__)
        raise UsageError(
            f"the attack {name} cannot be called as attack(model, x, y, threat_model, generator): "
            f"{error}"
        ) from error
    except ValueError:  # compiled code tells no signature
        pass
    return AskedAttack(getattr(attack, "__name__", type(attack).__name__), instance=attack)


def read_plugins(plugins: Any) -> tuple[PluginFile, ...]:
    """Plugin files by path, one or several.

    Raises:
        PluginError: One cannot be read.
    """
    paths = [plugins] if isinstance(plugins, str | Path) else plugins
    return tuple(
        one if isinstance(one, PluginFile) else PluginFile.read(Path(one)) for one in paths
    )
