"""What every contender computes, and the check that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.interfaces import Engine
from qbench_engines.statevector import StatevectorEngine

TOLERANCE = 1e-4  # on values and on gradients, both of the order of 1
_READABLE = 8  # qubits up to which the reference is the `torch` engine

Result = tuple[Any, Any]
"""Values (batch, m) and gradients with respect to the angles, as arrays of any library."""


@dataclass(frozen=True)
class Problem:
    """⟨Z⟩ of the measured wires, and the gradient of Σ g_k ⟨Z_k⟩ in every angle of every sample.

    Args:
        circuit: The circuit.
        angles: (batch, layers, qubits, 3) float32, radians.
        cotangent: The weights g, (batch, m) float32.
    """

    circuit: Circuit
    angles: Tensor
    cotangent: Tensor

    @classmethod
    def random(cls, circuit: Circuit, batch: int, seed: int = 0) -> Problem:
        """Uniform angles in [-π, π) and normal weights."""
        generator = torch.Generator().manual_seed(seed)
        angles = torch.rand(batch, *circuit.angles_shape, generator=generator)
        weights = torch.randn(batch, len(circuit.measured), generator=generator)
        return cls(circuit, (2 * angles - 1) * torch.pi, weights)

    def first(self, samples: int) -> Problem:
        """The same problem for its first samples only."""
        return Problem(self.circuit, self.angles[:samples], self.cotangent[:samples])


@dataclass(frozen=True)
class Prepared:
    """A problem in a contender's own types: the calls that are timed."""

    forward: Callable[[], Any]
    gradient: Callable[[], Result]


@dataclass(frozen=True)
class Contender:
    """Something that solves problems.

    Args:
        name: Short and unique.
        how: What exactly is run, in a sentence.
        prepare: Everything that is not timed: building circuits, converting inputs.
        needs: Modules that must be installed.
        loops: Whether it takes the samples one by one, so that few of them tell its speed.
        whole: Whether it always gets the whole batch, as what the others are compared with must.
        torch: Whether it computes in torch, whose number of threads is then chosen for it.
    """

    name: str
    how: str
    prepare: Callable[[Problem], Prepared]
    needs: tuple[str, ...] = ()
    loops: bool = False
    whole: bool = False
    torch: bool = True

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else None


def by_autograd(problem: Problem, values: Callable[[Tensor], Tensor]) -> Prepared:
    """The calls of a contender whose values (batch, m) torch can differentiate in the angles."""

    @torch.no_grad()
    def forward() -> Tensor:
        return values(problem.angles)

    def gradient() -> Result:
        angles = problem.angles.detach().requires_grad_()
        found = values(angles)
        (by_angle,) = torch.autograd.grad(found, angles, problem.cotangent.to(found.dtype))
        return found.detach(), by_angle

    return Prepared(forward, gradient)


def by_engine(problem: Problem, engine: Engine) -> Prepared:
    """The calls of one of our engines, in the precision of the angles."""

    def values(angles: Tensor) -> Tensor:
        return expectations(engine.probabilities(problem.circuit, angles))

    return by_autograd(problem, values)


def reference(problem: Problem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and gradients in float64: by the `torch` engine, for large circuits by `statevector`.

    The second stands on the first: `statevector` is itself a contender on the small circuits.
    """
    engine = TorchEngine() if problem.circuit.qubits <= _READABLE else StatevectorEngine()
    double = Problem(problem.circuit, problem.angles.double(), problem.cotangent.double())
    values, gradient = by_engine(double, engine).gradient()
    return values.numpy(), gradient.numpy()


def disagreement(
    result: Result, expected: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> str | None:
    """In words, what is wrong with a result beyond `TOLERANCE`, or None."""
    for what, found, wanted in zip(("values", "gradients"), result, expected, strict=True):
        array = np.asarray(found, np.float64)
        if array.shape != wanted.shape:
            return f"its {what} have shape {array.shape} instead of {wanted.shape}"
        scale = max(1.0, float(np.abs(wanted).max()))
        error = float(np.abs(array - wanted).max()) / scale
        if not error <= TOLERANCE:  # also when it is not a number
            return f"its {what} are off by {error:.1e} (at most {TOLERANCE:.0e} is accepted)"
    return None
