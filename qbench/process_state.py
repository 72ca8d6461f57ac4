"""What one piece of code can change for all other code of a process, and putting it back.

A plugin may set torch's default type where it is imported, switch gradients off, or replace a
function of ours by its own: then every other model's numbers are wrong, or its own look right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import is_
from types import ModuleType
from typing import Any

_OURS = "qbench"
_OTHERS = ("torch", "torch.nn.functional", "torch.autograd", "torch.linalg", "numpy")


@dataclass(frozen=True)
class Setting:
    """One setting of the process; `usual` is its value where nothing was set."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    usual: Any = None


@dataclass(frozen=True)
class ProcessState:
    """Settings and code as they are at one moment.

    Args:
        settings: Values by name; empty before torch is imported.
        code: What every module and class holds, by its name.
    """

    settings: dict[str, Any]
    code: dict[str, tuple[Any, dict[str, Any]]]

    @classmethod
    def now(cls) -> ProcessState:
        """What holds now."""
        return cls({one.name: one.get() for one in _settings()}, _code())

    def restore(self) -> tuple[list[str], list[str]]:
        """Put back what is not as it was. Returns the settings, and the code, that were changed."""
        settings = []
        for one in _settings():
            before = self.settings.get(one.name, one.usual)
            if before is not None and one.get() != before:
                one.put(before)
                settings.append(one.name)
        code = []
        for owner, (target, before) in self.code.items():
            held = _plain(target)
            if len(held) >= len(before) and all(map(is_, held.values(), before.values())):
                continue  # nothing was replaced; what was added comes last
            for name, value in before.items():
                if _is_code(value) and held.get(name) is not value:
                    setattr(target, name, value)
                    code.append(f"{owner}.{name}")
        return settings, code


def _settings() -> list[Setting]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):
        return []
    return [
        Setting(
            "torch's default type",
            torch.get_default_dtype,
            torch.set_default_dtype,
            torch.float32,
        ),
        Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled, True),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "torch's determinism",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
            False,
        ),
    ]


def _code() -> dict[str, tuple[Any, dict[str, Any]]]:
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, module in sys.modules.copy().items():
        ours = name.startswith(_OURS)  # and first-party plugins, whose names begin alike
        if not isinstance(module, ModuleType) or not (ours or name in _OTHERS):
            continue
        held = _plain(module)
        found[name] = (module, held)
        for attribute, value in held.items() if ours else ():
            if isinstance(value, type) and value.__module__ == name:
                found[f"{name}.{attribute}"] = (value, _plain(value))
    return found


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


def _plain(target: object) -> dict[str, Any]:
    """What a module or class holds, copied at once: another thread may be importing."""
    return vars(target).copy()
