"""What plugin factories return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from qbench.circuits.circuit import Circuit
    from qbench.specs import Perturbations, ThreatModel

Scope = Literal["vector", "score", "margin"]


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
class LipschitzBound:
    """A Lipschitz bound in ℓ2.

    Args:
        lipschitz: L with |f(x) − f(x')| ≤ L ‖x − x'‖₂ for every pair of inputs.
        scope: What changes by no more than that: the `"vector"` of all scores in ℓ2, every single
            `"score"`, or every `"margin"`, the difference of two scores.
        least_norm: The bound holds where ‖x‖₂ is at least this; 0 for everywhere.
        detail: What else is worth keeping, e.g. the status of a solver.
    """

    lipschitz: float
    scope: Scope
    least_norm: float = 0.0
    detail: str | None = None


@dataclass(frozen=True)
class Radii:
    """Certified radii of n images in the norm of `specs.Perturbations`.

    Args:
        radius: (n,) float64, at least 0: no perturbation of at most this size changes the
            prediction from the label. 0 where nothing is proved or the image is misclassified.
        confidence: Probability that the radius of an image is right, at least; 1 for a proof.
        detail: What else is worth keeping, e.g. the status of a solver.
    """

    radius: Tensor
    confidence: float = 1.0
    detail: str | None = None


@runtime_checkable
class LipschitzCertifier(Protocol):
    """`certifier(model, x)` returns a global bound of a trained model.

    `x` (n, features) are the images in question: a bound that cannot hold everywhere holds for
    inputs at least as long as the shortest of them.

    Raises `errors.Unsupported` for a model it does not cover, `errors.VerificationError` when no
    valid bound comes out (e.g. a solver that does not converge).
    """

    def __call__(self, model: torch.nn.Module, x: Tensor) -> LipschitzBound: ...


@runtime_checkable
class RadiusCertifier(Protocol):
    """`certifier(model, x, y, perturbations, generator)` returns the radius of each image.

    `x` (n, features) lies in the box, `y` (n,) holds the labels; all randomness comes from
    `generator`. Radii hold for the model as it is computed in float32, so a margin must be proved
    to exceed what rounding can take from it. Raises as a `LipschitzCertifier` does.
    """

    def __call__(
        self,
        model: torch.nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii: ...


@runtime_checkable
class Engine(Protocol):
    """Runs circuits.

    `probabilities(circuit, angles, state)` maps rotation angles (batch, layers, qubits, 3), or
    (layers, qubits, 3) shared by the batch, and optionally initial amplitudes (batch, 2^n), to the
    distribution over the measured wires (batch, 2^m), the first measured wire as the highest bit.

    `exact` says that these are the probabilities of the circuit itself, without noise or shots;
    an engine that draws samples has their number as `shots`, and two of its calls differ. One that
    is not `differentiable` raises `errors.Unsupported` where a gradient is asked for. One whose
    circuits are paid for by the job says so by `by_job`: only 'qbench hardware' uses it.
    """

    name: str
    exact: bool
    differentiable: bool

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class CircuitModule(Protocol):
    """A module whose circuits any engine runs: a model, or a part of one.

    It hands every circuit to `self.engine.probabilities` and knows nothing else of where that is
    computed, so that a run on another engine, or on a device, only puts that in the place of
    `engine`. `qbench_circuits` makes such modules of circuits of Qiskit, PennyLane and OpenQASM.
    """

    engine: Engine

    def __call__(self, x: Tensor) -> Tensor: ...
