"""Adapters of plain functions on torch tensors or NumPy arrays, and of PennyLane QNodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from qbench.adapters.base import Adapted
from qbench.adapters.gradients import Estimate
from qbench.adapters.layout import Layout, Wanted
from qbench.errors import DataError


class AdaptedFunction(Adapted):
    """A function from images to scores, on torch tensors or, if it takes none, NumPy arrays.

    Args:
        function: What to call.
        kind: How it is called in messages.
        wanted, gradient: See `Adapted`.
    """

    def __init__(
        self, function: Callable[..., Any], kind: str, wanted: Wanted, gradient: Estimate | None
    ) -> None:
        super().__init__(kind, wanted, gradient)
        self.function = function

    def ask(self, x: Tensor) -> object:
        """What the function returns for images of its own shape."""
        return self.function(x if self.own_gradient else x.detach().cpu().numpy().copy())

    def layout(self, x: Tensor) -> Layout:
        """How it is asked: with tensors, or else with arrays, which carry no gradient."""
        try:
            return super().layout(x)
        except DataError:
            if not self.own_gradient:
                raise
            self.own_gradient = False
            try:
                return super().layout(x)
            except DataError:
                self.own_gradient = True
            raise

    def without_gradient(self) -> str:
        """Why there is none."""
        return "" if self.own_gradient else "it computes with NumPy arrays"
