"""`circuit-operator`: an operator below the margin's, carried back through the circuit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_engines.statevector import jacobians

from ..radii import largest_radii
from .gates import ReUploadGates, read_gates
from .operator_kernel import centre_weights, prove
from .region import Region, region
from .rounding import RegionRounding, region_rounding

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
        rounding = region_rounding(model, gates)
        steps = Steps(gates.seen_by(gates.circuit.measured))
        found = [
            _Image(steps, x[[k]], int(y[k]), perturbations, rounding).radius()
            for k in range(len(x))
        ]
        return Radii(torch.tensor(found, dtype=torch.float64))


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


class _Image:
    """An image x (1, features) of class y. A search begins where the last one ended."""

    def __init__(
        self,
        steps: Steps,
        x: Tensor,
        y: int,
        perturbations: Perturbations,
        rounding: RegionRounding,
    ) -> None:
        self.steps, self.x, self.y, self.perturbations = steps, x, y, perturbations
        self.rounding = rounding
        self.reached: dict[int, tuple[float, NDArray[np.complex128], NDArray[np.float64]]] = {}

    def radius(self) -> float:
        """The largest radius proved against every class, 0 if there is none.

        The closest class is asked first; another only where the search has come to by then.
        """
        scores = self.steps.gates.scores(self.x)
        margins = scores[0, self.y] - scores[0]
        margins[self.y] = torch.inf
        nothing, image = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
        needed = self.rounding(region(self.x, nothing, self.perturbations))
        found = torch.where(margins.min() > needed, torch.inf, nothing)
        for nth, other in enumerate(margins.argsort().tolist()[:-1]):
            proves = partial(self._proves, other)
            if nth == 0 or (found > 0 and not proves(image, found)):
                found = largest_radii(proves, nothing, found, self.perturbations.eps)
        return float(found)

    def _proves(self, other: int, image: Tensor, radius: Tensor) -> Tensor:
        """Whether the margin against a class is proved within a radius (1,)."""
        steps, inside = self.steps, region(self.x, radius, self.perturbations)
        least = float(self.rounding(inside))
        angles, widths = steps.gates.angles(inside.centre), steps.widths(inside)
        if widths.max() >= np.pi / 2:
            return torch.tensor([False])
        centre, reach = angles.flatten().numpy(), inside.width[0].numpy()
        if other not in self.reached:
            size = 2**steps.gates.circuit.qubits
            weights = np.zeros((len(centre), size, size), np.complex128)
            centre_weights(steps.circuit, centre, weights)
            _, by_angle = jacobians(steps.gates.circuit, angles)
            slope = (by_angle[self.y] - by_angle[other]).flatten()
            self.reached[other] = _START, weights, slope.numpy()
        mu, weights, c = self.reached[other]
        bound, mu, _ = prove(
            steps.circuit, centre, widths, steps.observables[self.y] - steps.observables[other],
            steps.readings, reach, np.inf if inside.norm == "linf" else float(reach[0]), least,
            _STEPS, mu, weights, c,
        )  # fmt: skip
        self.reached[other] = max(mu, _AGAIN), weights, c
        return torch.tensor([bound > least])
