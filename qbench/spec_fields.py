"""What the fields of a spec may hold, read off its type hints."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from qbench.errors import PluginError
from qbench.specs import COMMAND_GROUPS, CommandSpec, Spec

LONGEST_NAME = 100
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "True or False"}


def check_spec(spec: object, spec_type: type[Spec]) -> Spec:
    """A spec as a hook returned it, if it is of the type that the hook is for and well-formed.

    Raises:
        PluginError: It is not; one line with the spec, the field, and what is allowed.
    """
    if not isinstance(spec, spec_type):
        raise PluginError(f"expected {spec_type.__name__}, got {_shown(spec)}")
    what = f"{spec_type.__name__} {spec.name!r}"
    _check_fields(spec, what)
    if not _NAME.fullmatch(_own_name(spec)) or len(spec.name) > LONGEST_NAME:
        raise PluginError(
            f"{what} is no name: use lower-case letters, digits, '-' and '.', at most "
            f"{LONGEST_NAME} of them"
        )
    for field in ("factory", "train"):
        target = getattr(spec, field, None)
        if target is not None and not _TARGET.fullmatch(target):
            raise PluginError(f'{what}: {field} is {target!r}: give "module:callable"')
    if spec.revision < 1:
        raise PluginError(f"{what}: revision is {spec.revision}: give 1 or more")
    return spec


def _own_name(spec: Spec) -> str:
    """The name, of a command without the group that it belongs to."""
    group, _, name = spec.name.partition(" ")
    return name if isinstance(spec, CommandSpec) and group in COMMAND_GROUPS else spec.name


_hints = cache(get_type_hints)


def _check_fields(holder: Any, what: str) -> None:
    kind: type = type(holder)
    hints = _hints(kind)
    for field in fields(holder):
        value, hint = getattr(holder, field.name), hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, hint):
            _check_fields(value, f"{what}: {field.name}")
        elif not _fits(value, hint):
            hand = ", not the object" if field.name == "factory" and callable(value) else ""
            raise PluginError(
                f"{what}: {field.name} is {_shown(value)}: give {_allowed(field.name, hint)}{hand}"
            )


def _fits(value: object, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value is part or (type(value) is type(part) and value == part) for part in parts)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(part, parts[0]) for part in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(key, parts[0]) and (_is_plain(part) if parts[1] is Any else _fits(part, parts[1]))
            for key, part in value.items()
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _is_plain(value: object) -> bool:
    """Whether a parameter can be handed to another process as JSON."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _allowed(name: str, hint: Any) -> str:
    """What a field takes, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if name == "factory":
        return 'text "module:callable"'
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("None" if p is type(None) else _allowed(name, p) for p in parts)
    if origin is tuple:
        return f"a tuple of {_allowed(name, parts[0])}, such as {_example(parts[0])}"
    if origin is Mapping and parts[0] is int:
        return "a mapping from whole numbers to text, such as {0: 'a'}"
    if origin is Mapping:
        return "a mapping from names of parameters to numbers, text, True, False, None or lists"
    return _WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _example(hint: Any) -> str:
    values = get_args(hint) or ("a",)
    return f"({values[0]!r},)"


def _shown(value: object) -> str:
    """A value that belongs nowhere: itself where it is short and plain, else what it is."""
    if isinstance(value, type) or callable(value):
        kind = "class" if isinstance(value, type) else "function"
        return f"the {kind} {getattr(value, '__name__', type(value).__name__)}"
    short = _is_plain(value) and len(repr(value)) <= 60
    return repr(value) if short else f"a {type(value).__name__}"
