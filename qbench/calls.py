"""Attacks as they are asked for: a name, or a name with parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbench.errors import UsageError


@dataclass(frozen=True)
class AttackCall:
    """An attack as it was asked for: how it is shown, its name, and the parameters given."""

    label: str
    name: str
    params: Mapping[str, int | float | bool | str]


def parse_attack(text: str) -> AttackCall:
    """Read `name:parameter=value:...`; values are numbers, true, false or text.

    Raises:
        UsageError: It is not of this form.
    """
    name, *parts = text.split(":")
    params: dict[str, int | float | bool | str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key.isidentifier() or not equals or not value:
            raise UsageError(f"attack {text!r}: write NAME:PARAMETER=VALUE:..., not {part!r}")
        params[key] = _value(value)
    label = ":".join([name, *(f"{key}={params[key]}" for key in sorted(params))])
    return AttackCall(label, name, params)


def _value(text: str) -> int | float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
