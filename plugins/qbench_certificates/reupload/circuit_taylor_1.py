"""`circuit-taylor-1`: the gradient of the margins, and the most that they can curve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.torch_engine import expectations
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_engines.statevector import StatevectorEngine

from ..radii import largest_radius, slack
from .gates import ReUploadGates, read_gates
from .region import Region, region


def margin_slopes(gates: ReUploadGates, inside: Region, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Margins at the centre, how much their gradients allow them to fall, and the scores there.

    Returns:
        Margins (n, classes) against every class, infinite against y itself; falls (n, classes);
        scores (n, classes).
    """
    centre = inside.centre.clone().requires_grad_()
    with torch.enable_grad():
        found = StatevectorEngine().probabilities(gates.circuit, gates.angles(centre))
        scores = expectations(found)
        rows = [torch.autograd.grad(s, centre, retain_graph=True)[0] for s in scores.sum(0)]
    jacobian, scores, n = torch.stack(rows, 1), scores.detach(), torch.arange(len(y))
    margins = scores[n, y][:, None] - scores
    margins[n, y] = torch.inf
    falls = [inside.linear(jacobian[n, y] - row) for row in jacobian.unbind(1)]
    return margins, torch.stack(falls, 1), scores


class CircuitTaylor1:
    """Proves a radius by margin − max g·δ − S² > 0, with S = max Σ_k a_k |δ_k|.

    For generators of norm ½ and an observable of norm 2, the second derivative along δ is at most
    2 S² (a commutator with a generator at most keeps the norm), so the margin is within S² of its
    linear part. In ℓ∞ the expansion is about the centre of what the box leaves of the cube.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """Radii up to the largest budget.

        Raises:
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        gates = gates.seen_by(gates.circuit.measured)

        def proves(eps: Tensor) -> Tensor:
            inside = region(x, eps, perturbations)
            margins, falls, scores = margin_slopes(gates, inside, y)
            curve = inside.linear(gates.weights.expand_as(x)).square()
            return (margins - falls - curve[:, None] > slack(scores)[:, None]).all(1)

        limit = torch.full((len(x),), max(perturbations.eps), dtype=torch.float64)
        radius = largest_radius(proves, limit)
        return Radii(torch.where(proves(torch.zeros_like(limit)), radius, 0.0))
