"""Reading a model's parameters in float64, with errors that name what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported, WeightsError

# Norms of matrices of a few hundred rows are computed to about 1e-14 in float64; bounds are raised
# by more than that, so that rounding never leaves a bound on the wrong side of the exact value.
_ROUNDING = 1e-12


def outward(bound: float) -> float:
    """The bound, raised by more than what rounding in float64 can have taken from it."""
    return bound * (1.0 + _ROUNDING)


def float64(model: nn.Module, names: tuple[str, ...], structure: str) -> tuple[Tensor, ...]:
    """The named parameters as float64 tensors on the CPU.

    Raises:
        Unsupported: The model lacks one of them, so it is not of this structure.
        WeightsError: Any parameter of the model has a value that is not finite.
    """
    own = dict(model.named_parameters())
    for name in names:
        if name not in own:
            raise Unsupported(
                f"{type(model).__name__} has no parameter {name!r}: "
                f"this certifier covers {structure!r}"
            )
    for name, value in own.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"parameter {name!r} of {type(model).__name__} has values that are not finite: "
                "train it again or load other weights"
            )
    return tuple(own[name].detach().double().cpu() for name in names)


def check_function(
    model: nn.Module, formula: Callable[[Tensor], Tensor], features: int, structure: str
) -> None:
    """Compare the model with the formula that its bound is proved for, at a few random inputs.

    A guard, not a proof: it stops a model with the right parameter names that uses them otherwise.

    Args:
        model: The model to certify; compared in float64, on a copy.
        formula: Scores (n, classes) of inputs (n, features), in float64 on the CPU.
        features: Length of an input.
        structure: Name of the structure, for the message.

    Raises:
        Unsupported: They differ.
    """
    x = torch.rand(8, features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = formula(x)
        actual = copy.deepcopy(model).double().cpu()(x).double()
    if actual.shape != expected.shape or not torch.allclose(actual, expected, rtol=1e-6, atol=1e-9):
        raise Unsupported(
            f"{type(model).__name__} does not compute what its parameters say for {structure!r}, "
            "so this certifier's bound does not cover it"
        )
