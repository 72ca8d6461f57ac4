"""Angles in OpenQASM programs: arithmetic of numbers and inputs, read and never executed."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from qiskit.circuit import ParameterExpression

from qbench.errors import UsageError
from qbench.text import one_line

_LONGEST = 10_000  # characters of one angle
_WIDEST = 10_000  # bits of a whole number
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")  # not the e of 1e-3
_CONSTANTS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e}


def _quotient(over: Any, under: Any) -> Any:
    if not (isinstance(over, int) and isinstance(under, int)):
        return over / under
    if over % under:
        raise ValueError(f"whole numbers give a whole number in OpenQASM 3: write {over}.0/{under}")
    return over // under


def _power(base: Any, power: Any) -> Any:
    if not (isinstance(base, int) and isinstance(power, int)):
        return base**power
    if power < 0:
        return float(base) ** power
    if base.bit_length() * power > _WIDEST:  # before it grows without end
        raise ValueError("it is too large")
    return base**power


_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _quotient,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
# All but sqrt are methods of Qiskit's expressions too.
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
}


def computed(text: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression: a number, or an expression of Qiskit's parameters.

    Args:
        text: As OpenQASM 3 writes it.
        values: Of its names.

    Raises:
        UsageError: It has something else in it, or no value.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        if "^" in text:
            raise ValueError("^ works on bits in OpenQASM 3: write ** for a power")
        python = _NAME.sub(r"_\g<0>", text)  # no word of Python's, as lambda
        found = _value(ast.parse(python, mode="eval").body, values)
        return float(found) if isinstance(found, int) else found
    except (
        *(ArithmeticError, ValueError, SyntaxError, TypeError, RecursionError),
        MemoryError,  # of the parser, where signs or brackets are nested too deeply
    ) as error:
        reason = one_line(f"{error}", 120)
        raise UsageError(
            f"the OpenQASM program: {one_line(text, 80)!r} is no angle ({reason})"
        ) from error


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name[1:] in values:
            return values[name[1:]]
        case ast.Name(id=name) if name[1:] in _CONSTANTS:
            return _CONSTANTS[name[1:]]
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_value(node.operand, values))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = _value(node.left, values), _value(node.right, values)
            if isinstance(left, ParameterExpression) and isinstance(right, int):
                right = float(right)  # Qiskit's whole numbers have 64 bits, and wrap
            if isinstance(right, ParameterExpression) and isinstance(left, int):
                left = float(left)
            return _OPERATORS[type(node.op)](left, right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
            name[1:] in _FUNCTIONS
        ):
            of = _value(argument, values)
            if isinstance(of, ParameterExpression):
                return of**0.5 if name == "_sqrt" else getattr(of, name[1:])()
            return _FUNCTIONS[name[1:]](of)
    written = re.sub(r"(?<!\w)_", "", ast.unparse(node))
    raise ValueError(f"{written!r} is not known")
