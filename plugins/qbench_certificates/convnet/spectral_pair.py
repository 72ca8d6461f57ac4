"""`spectral-pair` and `convnet-local`: how steep the margin of two classes is, window by window.

A margin is m(x) = v₀ + Σ_j v_j p_j, with v the difference of two rows of the linear layer and p_j
the pooled value of window j, the largest of 0 and four outputs A_j x + const. It is piecewise
linear. Where it is smooth its gradient is Σ_j v_j α_jᵀA_j, each α_j a unit vector or 0, so that

    ‖∇m‖² = Σ_jk v_j v_k (α_jᵀA_j)·(α_kᵀA_k) ≤ Σ_jk max_{w,w'} v_j v_k A_jw·A_kw',

over the pieces w, w' that can be the largest, 0 among them. Most terms vanish: only windows that
share pixels meet. The root of the sum bounds the slope, by integration along the segment from x to
x'. With all pieces that gives a global bound. Over the perturbations of one image only some pieces
can win, mostly one, and the bound is the image's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import LipschitzBound, Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, margin_radii
from ..parameters import outward
from ..region import Region
from .kernel import spans, steepest, winners
from .network import WindowNetwork
from .rounding import margin_rounding

_ROUNDING = 1e-9


class SpectralPair:
    """Bounds |m(x) − m(x')| / ‖x − x'‖₂ for the margin m of any two classes.

    Source: after Szegedy et al. 2014 (arXiv:1312.6199), Sec. 4.3; sum over pairs of windows here.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The largest bound of two classes.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        network = WindowNetwork.read(model)
        products = gram(network).numpy()
        windows, classes = len(products), len(network.weight)
        every = torch.ones(windows, 5, dtype=torch.bool).numpy()
        slopes = [
            steepest((network.weight[y] - network.weight[c]).numpy(), products, every)
            for y in range(classes)
            for c in range(y)
        ]
        return LipschitzBound(lipschitz=outward(max(slopes)), scope="margin")


class LocalSlope:
    """Radii r with m(x) > r L(x, r) in ℓ2, L the bound for the pieces that can win within r.

    Source: after Hein and Andriushchenko 2017 (arXiv:1705.08475), Theorem 2.1; the bound on the
    local slope is this module's.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radii of images x (n, pixels) with labels y (n,); raises as `SpectralPair`."""
        network, x = WindowNetwork.read(model), x.double()
        scores, outputs = network.scores(x), network.outputs(x).numpy()
        products = gram(network).numpy()
        rows, patches = network.rows.numpy(), network.patches.numpy()

        def proves(asked: MarginQueries) -> Tensor:
            region = Region.of(x[asked.image], perturbations, asked.radius)
            low, high = region.low.contiguous().numpy(), region.high.contiguous().numpy()
            weights = (network.weight[asked.label] - network.weight[asked.other]).numpy()
            slopes = torch.empty_like(asked.radius)
            seen = -1
            for index, image in enumerate(asked.image.tolist()):
                if image != seen:
                    a, ball, seen = outputs[image], float(region.radius[index]), image
                    alive = winners(*spans(rows, patches, a, low[index], high[index], ball))
                slopes[index] = steepest(weights[index], products, alive)
            margin = scores[asked.image, asked.label] - scores[asked.image, asked.other]
            return margin - asked.least > asked.radius * slopes * (1 + _ROUNDING)

        rounding = margin_rounding(model, network, x, perturbations)
        return Radii(margin_radii(scores, y, perturbations.eps, rounding, proves))


def gram(network: WindowNetwork) -> Tensor:
    """A_jw·A_kw', (windows, 4, windows, 4)."""
    matrix = network.matrix
    flat = matrix.flatten(0, 1)
    return (flat @ flat.mT).view(len(matrix), 4, len(matrix), 4)
