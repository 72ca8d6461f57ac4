"""`circuit-operator`: an operator below the margin's, carried back through the circuit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_engines.statevector import jacobians

from ..pairwise import MarginQueries, margin_radii
from .gates import ReUploadGates, read_gates
from .operator_kernel import centre_weights, prove
from .region import Region, region
from .rounding import margin_rounding

_QUBITS = 5  # a step costs the cube of 2^qubits
_STEPS = 30  # of the search for a bound; most are found or given up within ten
_START, _AGAIN = 0.05, 1e-3  # μ of the first step, and where a search begins from an earlier one
_OUTWARD = 1 + 1e-12  # widths are sums of products, rounded


class CircuitOperator:
    """Proves a radius by an operator inequality for each rotation, from the last to the first.

    The margin's observable is replaced, rotation by rotation, by an operator below it that no
    longer depends on how far the rotation turns, but for a linear part; the linear parts of all
    rotations are minimised over the region together. What this loses grows with Σ h_j² where
    rotation j turns by at most h_j, and what `circuit-taylor-2` loses with (Σ h_j)³. The proof of
    a step, and how the operators are chosen, stand in `operator_kernel`.

    Source: this project. Up to 5 qubits: a step costs the cube of the dimension.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The largest radius proved for each image (`radii.largest_radii`).

        Raises:
            Unsupported: The model is not a re-uploading circuit of at most 5 qubits.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        if gates.circuit.qubits > _QUBITS:
            raise Unsupported(
                f"{gates.circuit.qubits} qubits: its steps take the cube of 2^qubits, so it "
                f"covers circuits of at most {_QUBITS}"
            )
        rounding = margin_rounding(model, gates, x, perturbations)
        search = _Search(Steps(gates.seen_by(gates.circuit.measured)), x, perturbations)
        radii = margin_radii(gates.scores(x), y, perturbations.eps, rounding, search.proves)
        return Radii(radii)


@dataclass(frozen=True)
class Steps:
    """The gates as the compiled loops take them."""

    gates: ReUploadGates

    @cached_property
    def circuit(self) -> tuple[NDArray[np.int64], ...]:
        """Axis and bit of every rotation, and the order of the basis after it, (rotations, ...)."""
        circuit = self.gates.circuit
        layers, qubits, n = circuit.layers, circuit.qubits, 2**circuit.qubits
        orders = np.full((layers, 3 * qubits, n), -1)
        orders[:, -1] = circuit.permutations
        axes = np.tile([2, 1, 2], layers * qubits)
        bits = np.tile(np.arange(qubits)[::-1].repeat(3), layers)
        return axes, bits, orders.reshape(-1, n)

    @cached_property
    def readings(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Where each feature's readings begin, and of each its rotation and weight."""
        feature, rotation = self.gates.reading.mT.nonzero(as_tuple=True)
        starts = torch.searchsorted(feature, torch.arange(self.gates.features + 1))
        return starts.numpy(), rotation.numpy(), self.gates.reading[rotation, feature].numpy()

    @cached_property
    def observables(self) -> NDArray[np.float64]:
        """The diagonal of each measured wire's Z, (m, 2^qubits)."""
        circuit = self.gates.circuit
        z: NDArray[np.float64] = z_signs(len(circuit.measured))[circuit.outcomes].T
        return np.ascontiguousarray(z, dtype=np.float64)

    def widths(self, inside: Region) -> NDArray[np.float64]:
        """How far the angles of one image go, (rotations,)."""
        reading, width = self.gates.reading, inside.width[0]
        if inside.norm == "linf":
            found = reading.abs() @ width
        else:
            found = torch.linalg.vector_norm(reading, dim=1) * width[0]
        return (found * _OUTWARD).numpy()


class _Search:
    """Proofs for images x (n, features). That of a margin begins where its last one ended."""

    def __init__(self, steps: Steps, x: Tensor, perturbations: Perturbations) -> None:
        self.steps, self.x, self.perturbations = steps, x, perturbations
        self.reached: dict[
            tuple[int, int], tuple[float, NDArray[np.complex128], NDArray[np.float64]]
        ] = {}

    def proves(self, asked: MarginQueries) -> Tensor:
        """Whether each question is answered by a proof, (m,)."""
        regions = region(self.x[asked.image], asked.radius, self.perturbations)
        columns = (asked.image, asked.label, asked.other, asked.least)
        questions = zip(*(column.tolist() for column in columns), strict=True)
        found = [self._proves(regions[[k]], *one) for k, one in enumerate(questions)]
        return torch.tensor(found, dtype=torch.bool)

    def _proves(self, inside: Region, image: int, label: int, other: int, least: float) -> bool:
        steps = self.steps
        angles, widths = steps.gates.angles(inside.centre), steps.widths(inside)
        if widths.max() >= np.pi / 2:
            return False
        key, centre = (image, other), angles.flatten().numpy()
        reach = np.ascontiguousarray(inside.width[0])  # without a box it is one number, repeated
        if key not in self.reached:
            size = 2**steps.gates.circuit.qubits
            weights = np.zeros((len(centre), size, size), np.complex128)
            centre_weights(steps.circuit, centre, weights)
            _, by_angle = jacobians(steps.gates.circuit, angles)
            self.reached[key] = _START, weights, (by_angle[label] - by_angle[other]).numpy().ravel()
        mu, weights, c = self.reached[key]
        bound, mu, _ = prove(
            steps.circuit, centre, widths, steps.observables[label] - steps.observables[other],
            steps.readings, reach, np.inf if inside.norm == "linf" else float(reach[0]), least,
            _STEPS, mu, weights, c,
        )  # fmt: skip
        self.reached[key] = max(mu, _AGAIN), weights, c
        return bool(bound > least)
