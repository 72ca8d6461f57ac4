"""Which rotations of a re-uploading circuit can matter, and how fast they turn its state."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.errors import Unsupported

from ..parameters import check_function, float64

STRUCTURE = "reupload-circuit"


@dataclass(frozen=True)
class ReUploadGates:
    """A circuit with the rotation angles `theta + reading · x`.

    Rotations are counted in the order (layer, qubit, 3).

    Args:
        circuit: The circuit.
        theta: (layers, qubits, 3) float64.
        reading: (rotations, features) float64; few of its entries need be other than 0.
    """

    circuit: Circuit
    theta: Tensor
    reading: Tensor

    @property
    def features(self) -> int:
        """Length of an input."""
        return self.reading.shape[1]

    @cached_property
    def weights(self) -> Tensor:
        """a_k, the sum over rotations of |reading| for feature k, (features,)."""
        return self.reading.abs().sum(0)

    @cached_property
    def layers(self) -> Tensor:
        """The reading layer by layer, (layers, 3 · qubits, features)."""
        return self.reading.view(self.circuit.layers, -1, self.features)

    @cached_property
    def in_layers(self) -> tuple[NDArray[np.int64], ...]:
        """Where each layer's readings begin (layers + 1), and of each its rotation and feature.

        Rotations are counted within their layer; the readings are those that are not 0, in order.
        """
        rotation, feature, _ = self._reads
        count = 3 * self.circuit.qubits
        starts = torch.searchsorted(rotation, count * torch.arange(self.circuit.layers + 1))
        return starts.numpy(), (rotation % count).numpy(), feature.numpy()

    @property
    def readings(self) -> Tensor:
        """The readings that are not 0, (readings,), in the order of `in_layers`."""
        return self._reads[2]

    @cached_property
    def reads(self) -> int:
        """How many rotations read a feature at most."""
        return int((self.reading != 0).sum(0).max())

    @cached_property
    def overlap(self) -> float:
        """‖ρ‖₂² for the rows ρ_j of the reading scaled to norm 1, so that Σ_j (ρ_j·δ)² ≤ it · ‖δ‖².

        Where a rotation reads one feature each, it is how many read the same at most.
        """
        norms = torch.linalg.vector_norm(self.reading, dim=1, keepdim=True)
        rows = torch.where(norms > 0, self.reading / norms, 0.0)
        return float(torch.linalg.eigvalsh(rows.mT @ rows)[-1].clamp(min=0))

    def angles(self, x: Tensor) -> Tensor:
        """Rotation angles (n, layers, qubits, 3) of inputs x (n, features)."""
        rotation, feature, weight = self._reads
        terms = x[:, feature] * weight
        flat = self.theta.flatten().expand(len(x), -1)
        return flat.index_add(1, rotation, terms).view(len(x), *self.circuit.angles_shape)

    def widths(self, x: Tensor) -> Tensor:
        """How far angles go when feature k goes as far as |x_k|, (n, layers, 3 · qubits)."""
        rotation, feature, weight = self._reads
        empty = x.new_zeros(len(x), len(self.reading))
        terms = (x[:, feature] * weight).abs()
        return empty.index_add(1, rotation, terms).view(len(x), *self.layers.shape[:2])

    def gather(self, rows: Tensor) -> Tensor:
        """readingᵀ times rows (rotations, m), (features, m)."""
        rotation, feature, weight = self._reads
        empty = rows.new_zeros(self.features, rows.shape[1])
        return empty.index_add(0, feature, rows[rotation] * weight[:, None])

    def add_within(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Adds matrices (layers, m, 3 · qubits) times each layer's reading to rows, in place.

        Args:
            rows: (layers, m, features), returned.
            matrices: One for each layer.
        """
        rotation, feature, weight = self._reads
        layer, own = rotation // matrices.shape[2], rotation % matrices.shape[2]
        terms = matrices.mT[layer, own] * weight[:, None]
        rows.mT.index_put_((layer, feature), terms, accumulate=True)
        return rows

    def scores(self, x: Tensor) -> Tensor:
        """⟨Z⟩ of the measured wires, (n, m), of inputs x (n, features); differentiable."""
        return expectations(TorchEngine().probabilities(self.circuit, self.angles(x)))

    def seen_by(self, wires: tuple[int, ...]) -> ReUploadGates:
        """The same without what rotations read that cannot change any ⟨Z⟩ of these wires."""
        mask = matters(self.circuit, wires).view(-1, 1)
        return ReUploadGates(self.circuit, self.theta, torch.where(mask, self.reading, 0.0))

    @cached_property
    def _reads(self) -> tuple[Tensor, Tensor, Tensor]:
        rotation, feature = self.reading.nonzero(as_tuple=True)
        return rotation, feature, self.reading[rotation, feature]


def read_gates(model: nn.Module) -> ReUploadGates:
    """The gates of a re-uploading model.

    The model has parameters w and θ (layers, qubits, 3). Either w is of the same shape and rotation
    j reads feature j modulo `features`, or the method `reading` says what the rotations read.

    Raises:
        Unsupported: The model is not a re-uploading circuit.
        WeightsError: A parameter has a value that is not finite.
    """
    w, theta = float64(model, ("w", "theta"), STRUCTURE)
    circuit, features = getattr(model, "circuit", None), getattr(model, "features", None)
    split = hasattr(model, "reading")
    if (
        not isinstance(circuit, Circuit)
        or theta.shape != circuit.angles_shape
        or not (split or w.shape == theta.shape)
    ):
        raise Unsupported(
            f"{type(model).__name__}: w {tuple(w.shape)} and θ {tuple(theta.shape)} "
            "are not the (layers, qubits, 3) of a circuit"
        )
    if not isinstance(features, int) or features < 1 or (not split and w.numel() < features):
        raise Unsupported(f"{w.numel()} rotations do not read {features!r} features in turn")
    if split:
        reading: Tensor = copy.deepcopy(model).double().cpu().reading().detach()  # type: ignore[operator]
    else:
        read = torch.arange(w.numel()) % features
        reading = w.view(-1, 1) * torch.eye(features, dtype=torch.float64)[read]
    if reading.shape != (theta.numel(), features):
        raise Unsupported(
            f"{type(model).__name__}: a reading {tuple(reading.shape)} does not take "
            f"{features} features to {theta.numel()} rotations"
        )
    gates = ReUploadGates(circuit, theta, reading)
    check_function(model, gates.scores, features, STRUCTURE)
    return gates


def matters(circuit: Circuit, wires: tuple[int, ...]) -> Tensor:
    """Whether a rotation may change any ⟨Z⟩ of these wires, (layers, qubits, 3) bool.

    The observables go backwards through the circuit as Pauli strings. The last layer's CNOTs make
    each Z a product of Z on a set of qubits, where a qubit met twice drops out. Further back, it is
    known of each qubit whether a string may act on it with an X part (X or Y) or with a Z part (Z
    or Y): CNOT carries an X part from control to target and a Z part from target to control, and
    rotations make both possible where there was either. A rotation drops out where nothing acts on
    its qubit, RZ(ω) also where nothing but Z does, and the first RZ(φ) because it acts on |0⟩.
    """
    strings = torch.eye(circuit.qubits, dtype=torch.bool)[list(wires)]
    for control, target in reversed(circuit.cnots[-1]):
        strings[:, control] ^= strings[:, target]
    z_part = strings.any(0)
    x_part = torch.zeros_like(z_part)
    mask = torch.zeros(circuit.angles_shape, dtype=torch.bool)
    for layer in reversed(range(circuit.layers)):
        if layer + 1 < circuit.layers:
            for control, target in reversed(circuit.cnots[layer]):
                x_part[target] |= x_part[control]
                z_part[control] |= z_part[target]
        either = x_part | z_part
        mask[layer] = torch.stack([either, either, x_part], dim=1)
        x_part, z_part = either, either.clone()
    mask[0, :, 0] = False
    return mask


def turn_rate(widths: Tensor) -> Tensor:
    """The largest ‖dR/dt‖·2 of Rot(φ, θ, ω) for angular speeds up to `widths` (..., 3), (...).

    Rot turns about the axes of its three rotations; that of RY(θ) is perpendicular to both others,
    which may be parallel: √(θ² + (φ + ω)²), at most the sum of the three.
    """
    phi, theta, omega = widths.abs().unbind(-1)
    return torch.hypot(theta, phi + omega)
