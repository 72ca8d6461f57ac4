"""`circuit-commutators`: a margin's exact second order, and a remainder that knows commutators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, margin_radii
from .carried import can_carry
from .circuit_taylor_1 import margin_slopes
from .exact import margin_stays_positive
from .gates import read_gates
from .region import region
from .rounding import margin_rounding

_HOPELESS = 45.0  # S³ over the remainder of second order, which on trained circuits is smaller


class CircuitCommutators:
    """Proves a radius by min (margin + g·δ + ½ δᵀHδ) − remainder > 0 over a box.

    The minimum of the margin's exact second order is bounded by Shor's relaxation, gradient and
    Hessian together (`exact`); what lies beyond is bounded through the commutators of the gates
    with the observable (`commutators`). Both are smaller than what `circuit-taylor-2` has, and
    cost more. The expansion is about the centre of what the box leaves of the cube.
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
            Unsupported: The model is not a re-uploading circuit, or too large.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        circuit = gates.circuit
        if not can_carry(gates):
            raise Unsupported(
                f"{circuit.qubits} qubits and {circuit.layers} layers: a matrix of 4^qubits "
                "numbers for each layer is too much, or there is one qubit only"
            )
        rounding = margin_rounding(model, gates, x, perturbations)
        gates = gates.seen_by(circuit.measured)
        signs = torch.as_tensor(z_signs(len(circuit.measured))[circuit.outcomes]).mT

        def proves(asked: MarginQueries) -> Tensor:
            inside = region(x[asked.image], asked.radius, perturbations)
            margins, falls = margin_slopes(gates, inside, asked.label)
            left = (margins - falls).gather(1, asked.other[:, None])[:, 0] - asked.least
            turn = inside.linear(gates.weights.expand_as(inside.centre))
            proved = left > turn.square()
            tried = ~proved & (left > 0) & (turn.pow(3) < _HOPELESS * left)
            for k in tried.nonzero()[:, 0].tolist():
                difference = signs[asked.label[k]] - signs[asked.other[k]]
                proved[k] = margin_stays_positive(
                    gates, inside.centre[k], inside.width[k], difference, asked.least[k]
                )
            return proved

        return Radii(margin_radii(gates.scores(x), y, perturbations.eps, rounding, proves))
