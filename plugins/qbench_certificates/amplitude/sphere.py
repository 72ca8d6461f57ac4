"""A Lipschitz bound for margins of inputs that are not too short."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import DataError, UsageError
from qbench.interfaces import LipschitzBound
from qbench_certificates.parameters import outward

from .pairwise_margins import quadratic_forms


class AmplitudeSphere:
    """(λ_max − λ_min)/ρ, the largest over pairs of classes, for inputs with ‖x‖₂ ≥ ρ.

    Scores depend on x/‖x‖ alone, so close to the origin no bound holds. For unit vectors u and v
    and a symmetric Q, uᵀQu − vᵀQv = (u − v)ᵀQ(u + v); the two factors are orthogonal, so it is at
    most ½(λ_max − λ_min)‖u − v‖‖u + v‖ ≤ (λ_max − λ_min)‖u − v‖, and inputs of norm ρ or more are
    ρ times as far apart as their directions, or more. A gradient reaches it: no smaller number is
    right.

    Args:
        least_norm: ρ; by default the norm of the shortest image.
    """

    def __init__(self, *, least_norm: float | None = None) -> None:
        if least_norm is not None and not least_norm > 0:
            raise UsageError(f"least_norm is {least_norm}: give a positive norm")
        self.least_norm = least_norm

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound; x (n, features) are the images.

        Raises:
            DataError: The norm is that of the images, and there are none, or one is all zero.
            Unsupported: The model is no amplitude encoding circuit.
            WeightsError: Its weights are not finite.
        """
        forms = quadratic_forms(model)
        rho = self.least_norm
        if rho is None:
            norms = torch.linalg.vector_norm(x.detach().double(), dim=-1)
            rho = float(norms.min()) if x.dim() == 2 and len(x) else 0.0
            if not rho > 0:
                raise DataError(
                    "amplitude-sphere-images needs images none of which is all zero: "
                    "give some, or use amplitude-sphere"
                )
        pairs = torch.stack([a - b for i, a in enumerate(forms) for b in forms[i + 1 :]])
        margin, score = _spread(pairs), _spread(forms)
        return LipschitzBound(
            lipschitz=outward(margin / rho),
            scope="margin",
            least_norm=rho,
            detail=f"{outward(score / rho):.6g} for each score; both times {rho:.6g}/‖x‖ elsewhere",
        )


def _spread(forms: Tensor) -> float:
    """The largest λ_max − λ_min of symmetric forms (n, d, d)."""
    values = torch.linalg.eigvalsh(forms)
    return float((values[:, -1] - values[:, 0]).max())
