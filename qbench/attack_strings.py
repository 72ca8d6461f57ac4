"""Attacks and data sets as they are asked for and shown: a name, or a name with parameters."""

from __future__ import annotations

from collections.abc import Mapping

from qbench.errors import UsageError
from qbench.provided import Scalar

DATA_LABEL = r"^[A-Za-z0-9][A-Za-z0-9._:=+-]*$"  # of a data set, in records and names of folders


def parse_attack(text: str) -> tuple[str, dict[str, Scalar]]:
    """Read the name of an attack, as `parse_name`."""
    return parse_name("attack", text)


def parse_name(kind: str, text: str) -> tuple[str, dict[str, Scalar]]:
    """Read `name:parameter=value:...`; values are numbers, true, false or text.

    Raises:
        UsageError: It is not of this form.
    """
    name, *parts = text.split(":")
    params: dict[str, Scalar] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key.isidentifier() or not equals or not value:
            raise UsageError(f"{kind} {text!r}: write NAME:PARAMETER=VALUE:..., not {part!r}")
        params[key] = _value(value)
    return name, params


def attack_label(name: str, params: Mapping[str, Scalar], usual: Mapping[str, Scalar]) -> str:
    """Its name, and those of its parameters that are not the usual ones."""
    other = {key: value for key, value in params.items() if usual.get(key, value) != value}
    other |= {key: value for key, value in params.items() if key not in usual}
    return ":".join([name, *(f"{key}={_text(other[key])}" for key in sorted(other))])


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
