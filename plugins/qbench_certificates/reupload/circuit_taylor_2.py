"""`circuit-taylor-2`: gradient and Hessian of the margins, and what lies beyond at most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .ball_expansion import ball_radii
from .box_expansion import box_radii
from .gates import read_gates
from .rounding import region_rounding

# Images · rotations² · 2^qubits, which takes about half an hour where every image needs a Hessian.
_MOST_WORK = 3e11


class CircuitTaylor2:
    """Proves a radius by margin − max g·δ − ½ max |δᵀHδ| − remainder > 0.

    g and H are the margin's exact gradient and Hessian, and the remainder knows the states along
    the circuit (`remainder`): a third to a tenth of the S³/3 that operator norms alone allow. In ℓ∞
    the expansion is about the centre of what the box leaves of the cube, so each radius has its
    own; in ℓ2 it is about the image, and one answers for all radii.
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
            Unsupported: The model is not a re-uploading circuit, or so large that its Hessians on
                so many images would take hours.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        rotations, qubits = gates.theta.numel(), gates.circuit.qubits
        most = int(_MOST_WORK / (rotations**2 * 2**qubits))
        if len(x) > most:
            fewer = f"at most {most} (--limit {most})" if most else "use circuit-taylor-1"
            raise Unsupported(
                f"{len(x)} images under {rotations} rotations of {qubits} qubits would take hours, "
                f"since an image takes their square times 2^qubits: {fewer}"
            )
        rounding = region_rounding(model, gates)
        gates = gates.seen_by(gates.circuit.measured)
        search = box_radii if perturbations.norm == "linf" else ball_radii
        return Radii(search(gates, x, y, perturbations, rounding))
