"""What plugin factories return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from qbench.circuits.circuit import Circuit
    from qbench.specs import ThreatModel


class Model(Protocol):
    """A classifier: a `torch.nn.Module` from (n, features) in [0, 1] to (n, classes) scores.

    Preprocessing lives inside, so gradients pass through it and ε always means raw pixels. A
    module may also define `regularisation() -> Tensor`, the penalty that a recipe's λ weighs, and
    `published_names`, a mapping from the parameter names of published checkpoints to its own.
    """

    def __call__(self, x: Tensor) -> Tensor: ...
    def parameters(self) -> Any: ...


@runtime_checkable
class Attack(Protocol):
    """`attack(model, x, y, threat_model, generator)` returns adversarial inputs shaped like x.

    `y` (n,) holds the labels to leave, or to reach when the threat model is targeted. All
    randomness comes from `generator`. An attack never reports its own success. It may declare
    `passes`, how many images it sends through the model and how many it differentiates for each
    image attacked: `--dry-run` adds them up.
    """

    def __call__(
        self,
        model: torch.nn.Module,
        x: Tensor,
        y: Tensor,
        threat_model: ThreatModel,
        generator: torch.Generator,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Certificate:
    """A global Lipschitz bound in ℓ2.

    Args:
        lipschitz: L with ‖f(x) − f(x')‖ ≤ L ‖x − x'‖₂ for every pair of inputs.
        scope: `"vector"` when L bounds the ℓ2 change of all scores together, `"score"` when it
            bounds the change of each single score.
        detail: What else is worth keeping, e.g. the status of a solver.
    """

    lipschitz: float
    scope: Literal["vector", "score"]
    detail: str | None = None


@runtime_checkable
class Certifier(Protocol):
    """`certifier(model)` returns what can be proved of a trained model.

    Raises `errors.Unsupported` for a model it does not cover, `errors.VerificationError` when no
    valid bound comes out (e.g. a solver that does not converge).
    """

    def __call__(self, model: torch.nn.Module) -> Certificate: ...


@runtime_checkable
class Engine(Protocol):
    """Runs circuits.

    `probabilities(circuit, angles, state)` maps rotation angles (batch, layers, qubits, 3), or
    (layers, qubits, 3) shared by the batch, and optionally initial amplitudes (batch, 2^n), to the
    distribution over the measured wires (batch, 2^m), the first measured wire as the highest bit.
    """

    name: str
    exact: bool
    differentiable: bool

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor: ...
