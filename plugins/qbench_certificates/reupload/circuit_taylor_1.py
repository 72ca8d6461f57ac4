"""`circuit-taylor-1`: the gradient of the margins, and the most that they can curve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_engines.statevector import StatevectorEngine, jacobians

from .circuit_fidelity import turns_too_little
from .gates import ReUploadGates, read_gates
from .region import Region, proved_radii, region
from .rounding import region_rounding


def margin_slopes(gates: ReUploadGates, inside: Region, y: Tensor) -> tuple[Tensor, Tensor]:
    """Margins at the centre, and how much their gradients allow them to fall.

    Returns:
        Margins (n, classes) against every class, infinite against y itself; falls (n, classes).
    """
    scores, by_angle = jacobians(gates.circuit, gates.angles(inside.centre))
    rows, n = by_angle.flatten(2).flatten(0, 1), torch.arange(len(y))
    slopes = gates.gather(rows.mT).mT.view(*by_angle.shape[:2], gates.features)
    margins = scores[n, y][:, None] - scores
    margins[n, y] = torch.inf
    falls = [inside.linear(slopes[y, n] - slope) for slope in slopes]
    return margins, torch.stack(falls, 1)


class CircuitTaylor1:
    """Proves a radius by margin − max g·δ − S² > 0, with S = max Σ_k a_k |δ_k|.

    For generators of norm ½ and an observable of norm 2, the second derivative along δ is at most
    2 S² (a commutator with a generator at most keeps the norm), so the margin is within S² of its
    linear part. In ℓ∞ the expansion is about the centre of what the box leaves of the cube.
    Gradients are asked for only where the state may turn too far (`turns_too_little`) and the
    margin exceeds S².
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
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        rounding = region_rounding(model, gates)
        gates = gates.seen_by(gates.circuit.measured)

        def proves(images: Tensor, eps: Tensor) -> Tensor:
            inside, label = region(x[images], eps, perturbations), y[images]
            weights = StatevectorEngine().probabilities(gates.circuit, gates.angles(inside.centre))
            needed = rounding(inside)
            proved = turns_too_little(gates, inside, weights, label, needed)
            curve = inside.linear(gates.weights.expand_as(inside.centre)).square()
            scores = expectations(weights)
            rest = scores.scatter(1, label[:, None], -torch.inf).amax(1)
            least = scores.gather(1, label[:, None])[:, 0] - rest
            hard = (~proved & (least - curve > needed)).nonzero()[:, 0]
            margins, falls = margin_slopes(gates, inside[hard], label[hard])
            left = margins - falls - curve[hard, None]
            proved[hard] = (left > needed[hard, None]).all(1)
            return proved

        return Radii(proved_radii(proves, len(x), perturbations.eps))
