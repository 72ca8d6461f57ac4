"""Finds ART's attack classes and checks parameters against them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from inspect import Parameter
from typing import Any

from qbench.errors import UnknownNameError, Unsupported
from qbench.extras import install_command

_MODULES = ("packaging.version", "multiprocess", "art.attacks.evasion", "art.estimators")


def load_class(name: str) -> type[Any]:
    """One of ART's evasion attacks.

    Raises:
        Unsupported: ART, or a package that ART needs and does not declare, is not installed.
        UnknownNameError: ART has no such attack.
    """
    try:
        modules = {module: importlib.import_module(module) for module in _MODULES}
    except ImportError as error:
        raise Unsupported(
            f"adversarial-robustness-toolbox cannot be used ({error}): {install_command('art')}"
        ) from error
    evasion = modules["art.attacks.evasion"]
    base = importlib.import_module("art.attacks").EvasionAttack
    known = {
        key: value
        for key, value in vars(evasion).items()
        if inspect.isclass(value) and issubclass(value, base)
    }
    if name not in known:
        raise UnknownNameError("ART attack", name, known)
    return known[name]


def parameters(cls: type[Any]) -> Mapping[str, Parameter]:
    """What an attack takes besides the classifier."""
    _, _, *own = inspect.signature(cls.__init__).parameters.values()
    return {parameter.name: parameter for parameter in own}


def check_parameters(cls: type[Any], names: Iterable[str]) -> None:
    """Raise `UnknownNameError` for a name that the attack does not take."""
    known = parameters(cls)
    for name in names:
        if name not in known:
            raise UnknownNameError(f"parameter of ART's {cls.__name__}", name, known)
