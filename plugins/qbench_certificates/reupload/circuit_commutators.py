"""`circuit-commutators`: a margin's exact second order, and a remainder that knows commutators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .carried import can_carry
from .circuit_taylor_1 import margin_slopes
from .exact import Exact
from .gates import read_gates
from .region import proved_radii, region
from .rounding import region_rounding

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
        rounding = region_rounding(model, gates)
        gates = gates.seen_by(circuit.measured)

        def proves(images: Tensor, eps: Tensor) -> Tensor:
            inside, label = region(x[images], eps, perturbations), y[images]
            needed = rounding(inside)
            margins, falls = margin_slopes(gates, inside, label)
            left = margins - falls - needed[:, None]
            least = left.amin(1)
            turn = inside.linear(gates.weights.expand_as(inside.centre))
            proved, exact = least > turn.square(), Exact(gates, inside, needed)
            open_ = ~proved & (least > 0) & (turn.pow(3) < _HOPELESS * least)
            for k in open_.nonzero()[:, 0].tolist():
                others = [o for o in left[k].argsort().tolist() if o != int(label[k])]
                proved[k] = all(exact.proves(k, label[k], torch.tensor(o)) for o in others)
            return proved

        return Radii(proved_radii(proves, len(x), perturbations.eps))
