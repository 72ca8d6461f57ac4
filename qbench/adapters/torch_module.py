"""Adapters of torch modules, also those with PennyLane or Qiskit layers in them."""

from __future__ import annotations

from torch import Tensor, nn

from qbench.adapters import pennylane, qiskit
from qbench.adapters.base import Adapted
from qbench.adapters.gradients import Estimate
from qbench.adapters.layout import Layout, Wanted


class AdaptedModule(Adapted):
    """A torch module, asked in its own shape and precision.

    Args:
        module: The classifier; it becomes a part of this one, with its parameters.
        wanted, gradient: See `Adapted`.
        shots: Of the PennyLane layers in it; None for their own.

    Raises:
        UsageError: Shots for a module without such layers.
    """

    def __init__(
        self,
        module: nn.Module,
        wanted: Wanted,
        gradient: Estimate | None,
        shots: int | None = None,
    ) -> None:
        super().__init__(f"torch module {type(module).__name__}", wanted, gradient)
        self.module, self.shots = module, shots
        if shots is not None:
            pennylane.check_layers(module, shots)
        floating = [p.dtype for p in module.parameters() if p.is_floating_point()]
        if floating:
            self.dtypes = (floating[0],)
        self._one_by_one = False

    def ask(self, x: Tensor) -> object:
        """What the module returns for images of its own shape."""
        one_by_one = self._one_by_one and x.requires_grad
        with pennylane.changed_layers(self.module, self.shots, one_by_one):
            return self.module(x)

    def unwrapped(self, x: Tensor) -> nn.Module:
        """The module itself where it is one from images (n, features) to scores (n, classes)."""
        layout = self.layout(x)
        plain = (
            self.gradient is None
            and self.shots is None
            and layout.shape == (x.shape[1],)
            and layout.style == "batch"
            and layout.dtype == x.dtype
            and layout.columns > 1
            and not layout.transposed
            and layout.select is None
            and layout.outputs != "probabilities"
        )
        return self.module if plain else self

    def without_gradient(self) -> str:
        """What Qiskit's connectors say."""
        return qiskit.without_gradient(self.module)

    def _find_gradient(self, x: Tensor) -> Layout | str:
        """PennyLane layers run image by image where they have no gradient of a batch."""
        found = super()._find_gradient(x)
        if isinstance(found, str) and pennylane.layers(self.module):
            self._one_by_one = True
            found = super()._find_gradient(x)
        return found
