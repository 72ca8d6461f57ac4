"""A plugin with circuits of four qubits, small enough to simulate with noise."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe
from qbench_quantum.models import Amplitude, ReUpload


class Small(ReUpload):
    """Eight strips of an image, re-uploaded three times."""

    def __init__(self) -> None:
        super().__init__(qubits=4, layers=2, features=8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(3 * x.view(-1, 8, 32).mean(2))


class SmallAmplitude(Amplitude):
    """The rows of an image as amplitudes."""

    def __init__(self) -> None:
        super().__init__(layers=1, features=16)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1, 16, 16).mean(2) + 1e-3)


@hookimpl
def qbench_models() -> Iterable[ModelSpec]:
    for name, factory in (("small", "Small"), ("small-amplitude", "SmallAmplitude")):
        yield ModelSpec(
            name=name,
            description="four qubits",
            factory=f"hardware_models:{factory}",
            family="quantum",
            structure="small",
            recipe=Recipe(epochs=3, learning_rate=0.05),
        )
