"""Which rotations of a re-uploading circuit can matter, and how fast they turn its state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.errors import Unsupported

from ..parameters import check_function, float64

STRUCTURE = "reupload-circuit"


@dataclass(frozen=True)
class ReUploadGates:
    """A circuit whose rotation j has the angle `w[j] · x[j mod features] + theta[j]`.

    Args:
        circuit: The circuit.
        w: (layers, qubits, 3) float64, 0 for rotations that cannot matter.
        theta: (layers, qubits, 3) float64.
        features: Length of an input.
    """

    circuit: Circuit
    w: Tensor
    theta: Tensor
    features: int

    @property
    def repeats(self) -> int:
        """How many rotations read each feature."""
        return self.w.numel() // self.features

    def tile(self, x: Tensor) -> Tensor:
        """What each rotation reads of x (n, features): (n, layers, qubits, 3)."""
        return x.repeat(1, self.repeats).view(-1, *self.circuit.angles_shape)

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (n, layers, qubits, 3) of inputs x (n, features)."""
        return self.tile(x) * self.w + self.theta

    def scores(self, x: Tensor) -> Tensor:
        """⟨Z⟩ of the measured wires, (n, m), of inputs x (n, features); differentiable."""
        return expectations(TorchEngine().probabilities(self.circuit, self.angles(x)))


def read_gates(model: nn.Module) -> ReUploadGates:
    """The gates of a re-uploading model, without the weights that cannot matter.

    Raises:
        Unsupported: The model is not a re-uploading circuit.
        WeightsError: A parameter has a value that is not finite.
    """
    w, theta = float64(model, ("w", "theta"), STRUCTURE)
    circuit, features = getattr(model, "circuit", None), getattr(model, "features", None)
    if (
        not isinstance(circuit, Circuit)
        or w.shape != circuit.angles_shape
        or w.shape != theta.shape
    ):
        raise Unsupported(
            f"{type(model).__name__}: w {tuple(w.shape)} and θ {tuple(theta.shape)} "
            "are not the (layers, qubits, 3) of a circuit"
        )
    if not isinstance(features, int) or features < 1 or w.numel() % features:
        raise Unsupported(f"{w.numel()} rotations do not read {features!r} features in turn")
    check_function(model, ReUploadGates(circuit, w, theta, features).scores, features, STRUCTURE)
    mask = matters(circuit, circuit.measured)
    return ReUploadGates(circuit, torch.where(mask, w, 0.0), theta, features)


def matters(circuit: Circuit, wires: tuple[int, ...]) -> Tensor:
    """Whether a rotation may change any ⟨Z⟩ of these wires, (layers, qubits, 3) bool.

    The observables go backwards through the circuit as Pauli strings. The last ring of CNOTs makes
    each Z a product of Z on a set of qubits, where a qubit met twice drops out. Further back, it is
    known of each qubit whether a string may act on it with an X part (X or Y) or with a Z part (Z
    or Y): CNOT carries an X part from control to target and a Z part from target to control, and
    rotations make both possible where there was either. A rotation drops out where nothing acts on
    its qubit, RZ(ω) also where nothing but Z does, and the first RZ(φ) because it acts on |0⟩.
    """
    strings = torch.eye(circuit.qubits, dtype=torch.bool)[list(wires)]
    for control, target in _cnots(circuit, circuit.layers - 1):
        strings[:, control] ^= strings[:, target]
    z_part = strings.any(0)
    x_part = torch.zeros_like(z_part)
    mask = torch.zeros(circuit.angles_shape, dtype=torch.bool)
    for layer in reversed(range(circuit.layers)):
        if layer + 1 < circuit.layers:
            for control, target in _cnots(circuit, layer):
                x_part[target] |= x_part[control]
                z_part[control] |= z_part[target]
        either = x_part | z_part
        mask[layer] = torch.stack([either, either, x_part], dim=1)
        x_part, z_part = either, either.clone()
    mask[0, :, 0] = False
    return mask


def _cnots(circuit: Circuit, layer: int) -> list[tuple[int, int]]:
    """Controls and targets of a layer's ring, the last one first."""
    n, step = circuit.qubits, circuit.ranges[layer]
    return [(control, (control + step) % n) for control in reversed(range(n))]


def feature_weights(w: Tensor, features: int) -> Tensor:
    """a_k = Σ |w_j| over the rotations j that read feature k, (features,); differentiable in w."""
    return w.reshape(-1, features).abs().sum(0)


def turn_rate(widths: Tensor) -> Tensor:
    """The largest ‖dR/dt‖·2 of Rot(φ, θ, ω) for angular speeds up to `widths` (..., 3), (...).

    Rot turns about the axes of its three rotations; that of RY(θ) is perpendicular to both others,
    which may be parallel: √(θ² + (φ + ω)²), at most the sum of the three.
    """
    phi, theta, omega = widths.abs().unbind(-1)
    return torch.hypot(theta, phi + omega)
