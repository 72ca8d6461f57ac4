"""`lipsdp-margin` and `fourier-lipschitz`: a Lipschitz bound for the margin of each two classes.

The margin of y over c is a sine network with one read-out row, (S_y − S_c, C_y − C_c), to which
`lipsdp-pair` applies: at most √2 times the bound of the score vector, and mostly less. In ℓ∞,
‖δ‖₂ ≤ √features ‖δ‖_∞, or directly |m(x + δ) − m(x)| ≤ Σ_k Σ_i R_i |W_ik| |δ_k|.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import Perturbations

from ..margins import largest_pair, pair_bounds, radii
from .lipsdp import scaled_product, solve, units
from .network import SineNetwork
from .rounding import margin_rounding

_ITERATIONS = 200


class MarginLipSDP:
    """Bounds |m(x) − m(x')| / ‖x − x'‖₂ for the margin m of any two classes.

    Source: Fazlyab et al. 2019 (arXiv:1906.04893), Theorem 1, on one row and with paired units.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The largest bound of two classes.

        Raises:
            Unsupported: The model is not a sine network.
            WeightsError: A parameter has a value that is not finite.
            VerificationError: The solver does not converge.
        """
        return largest_pair(table(SineNetwork.read(model)))


class LipschitzRadius:
    """Radii from the Lipschitz bound of each margin."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radii of images x (n, features) with labels y (n,); raises as `MarginLipSDP`."""
        network = SineNetwork.read(model)
        bounds = table(network)
        if perturbations.norm == "linf":
            features = network.w.shape[1]
            bounds = torch.minimum(bounds * features**0.5, pixelwise(network))
        x = x.double()
        rounding = margin_rounding(model, network, x, perturbations)
        return radii(network.scores(x), y, bounds, perturbations, rounding)


def table(network: SineNetwork) -> Tensor:
    """Bounds of all margins in ℓ2, (classes, classes)."""

    def bound(y: int, c: int) -> float:
        s, w = network.s[[y]] - network.s[[c]], network.w
        rows, blocks = units(w.numpy(), s.numpy(), (network.c[[y]] - network.c[[c]]).numpy(), True)
        used = np.linalg.norm(rows, axis=1) * np.linalg.norm(blocks, axis=(1, 2)) > 0
        rows, blocks = rows[used], blocks[used]
        if not len(rows):
            return 0.0
        multipliers = solve(rows, blocks, _ITERATIONS)
        plain = np.ones(len(rows))
        return min(scaled_product(rows, blocks, d) for d in (multipliers, plain))

    return pair_bounds(len(network.s), bound)


def pixelwise(network: SineNetwork) -> Tensor:
    """Bounds of all margins in ℓ∞: Σ_i R_i ‖W_i‖₁, (classes, classes)."""
    reach = network.w.abs().sum(1)

    def bound(y: int, c: int) -> float:
        s, cosine = network.s[y] - network.s[c], network.c[y] - network.c[c]
        return float(torch.hypot(s, cosine) @ reach)

    return pair_bounds(len(network.s), bound)
