"""Qiskit's parameter expressions, computed by torch and so with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from operator import add, mul
from typing import Any

import sympy
import torch
from torch import Tensor

from qbench.errors import UsageError

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sympy.sin: torch.sin,
    sympy.cos: torch.cos,
    sympy.tan: torch.tan,
    sympy.asin: torch.asin,
    sympy.acos: torch.acos,
    sympy.atan: torch.atan,
    sympy.exp: torch.exp,
    sympy.log: torch.log,
    sympy.Abs: torch.abs,
    sympy.Pow: lambda base, power: torch.as_tensor(base) ** power,
    sympy.Add: lambda *terms: reduce(add, terms),
    sympy.Mul: lambda *factors: reduce(mul, factors),
    sympy.conjugate: lambda real: real,
}


def check(expression: sympy.Expr) -> None:
    """Raise `UsageError` for an expression that `value` cannot compute."""
    if expression.is_Symbol or (expression.is_number and _number(expression) is not None):
        return
    if expression.func not in _FUNCTIONS:
        raise UsageError(f"an angle {expression} holds {expression.func.__name__}, unknown here")
    for part in expression.args:
        check(part)


def value(expression: sympy.Expr, given: Mapping[str, Tensor]) -> Any:
    """The value of an expression, a tensor shaped like those it is made of.

    Args:
        expression: That `check` has accepted.
        given: Values of its symbols by name.
    """
    if expression.is_Symbol:
        return given[expression.name]
    if expression.is_number:
        return _number(expression)
    return _FUNCTIONS[expression.func](*(value(part, given) for part in expression.args))


def _number(expression: sympy.Expr) -> float | None:
    """A finite real number, None for any other."""
    found = complex(expression)
    return found.real if found.imag == 0 and math.isfinite(found.real) else None
