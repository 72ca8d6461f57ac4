"""`convnet-linear`: a plane under every pooled value, and the sum minimised over the region.

A margin is m(x + δ) = v₀ + Σ_j v_j p_j with p_j = max(0, a_j1, …, a_j4), the convolution's outputs
in window j, affine in δ. For *any* slopes s_j ∈ ℝ⁴ let b_j(s_j) be at most the least
v_j p_j − s_j·a_j over the region. Then

    m(x + δ) ≥ D(s) = v₀ + Σ_j b_j(s_j) + s·a(x) + min_δ s·(a(x + δ) − a(x)),

where the last minimum of a linear function over ball ∩ box is taken exactly. The intercepts:

- v_j < 0: v_j p_j − s_j·a_j is concave, minus the largest of five affine functions of the pixels.
  Each is maximised over the window's own patch of pixels, so that the correlation of the four
  outputs, which share most of them, is not lost: b_j is exact.
- v_j > 0: the function is convex; its least value over the box of the outputs' intervals is taken
  at a breakpoint. It is exact for the slopes of a convex combination of the pieces, where it is 0.

A window in which one piece always wins is that piece: s_j = v_j e_w, and b_j = 0.

D is a Lagrangian dual, concave in s. It starts at the slopes of linear bound propagation and climbs
by Polyak's steps, deflected as Camerini, Fratta & Maffioli (1975) do and scaled by |v_j|, the size
of a window's slopes. A minimiser δ whose margin is not positive, or what a few steps of descent
find from there, refutes the bound and ends the ascent; a gap that shrinks too slowly ends it, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, largest_candidates
from ..region import Region
from .kernel import ascend, spans
from .network import WindowNetwork

_AIM = 0.05


class Linear:
    """Radii from linear bounds, optimised over the slopes.

    Source: Zhang et al. 2018 (arXiv:1811.00866) for the slopes to start from, Xu et al. 2021
    (arXiv:2011.13824) for optimising them; intercepts over patches here.

    Args:
        steps: Of the slopes' ascent, for every question.
    """

    def __init__(self, steps: int = 100) -> None:
        self.steps = steps

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radii of images x (n, pixels) with labels y (n,).

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        network, x = WindowNetwork.read(model), x.double()

        def proves(asked: MarginQueries) -> Tensor:
            region = Region.of(x[asked.image], perturbations, asked.radius)
            return bounds(network, x, asked, region, self.steps) > asked.least

        return Radii(largest_candidates(network.scores(x), y, perturbations.eps, proves))


def bounds(
    network: WindowNetwork, x: Tensor, asked: MarginQueries, region: Region, steps: int
) -> Tensor:
    """A lower bound on each margin over its region, (m,); −∞ where it is known not to suffice.

    Once a question about an image stays open, the image's later ones are not tried. An image's
    questions follow each other, and have one region.

    Args:
        network: The network.
        x: Images (n, pixels).
        asked: The questions.
        region: The perturbations of each question.
        steps: Of the slopes' ascent.
    """
    rows, patches = network.rows.numpy(), network.patches.numpy()
    a = network.outputs(x).numpy()
    weights = (network.weight[asked.label] - network.weight[asked.other]).numpy()
    constants = network.offset[asked.label] - network.offset[asked.other]
    low, high = region.low.contiguous().numpy(), region.high.contiguous().numpy()
    found = torch.full_like(asked.radius, -torch.inf)
    failed: set[int] = set()
    seen = -1
    for index, image in enumerate(asked.image.tolist()):
        if image in failed:
            continue
        ball, enough = float(region.radius[index]), float(asked.least[index])
        if image != seen:
            seen = image
            lower, upper = spans(rows, patches, a[image], low[index], high[index], ball)
        found[index] = ascend(
            weights[index],
            float(constants[index]),
            rows,
            patches,
            a[image],
            lower,
            upper,
            low[index],
            high[index],
            ball,
            enough,
            _AIM,
            steps,
        )
        if not found[index] > enough:
            failed.add(image)
    return found
