"""`convnet-linear`: a plane under every pooled value, and the sum minimised over the region.

A margin is m(x + δ) = v₀ + Σ_j v_j p_j with p_j = max(0, a_j1, …, a_j4), the convolution's outputs
in window j, affine in the pixels of one patch. For *any* slopes λ_j, one for each pixel of the
patch, let b_j(λ_j) be at most the least v_j p_j − λ_j·δ over the region. Then

    m(x + δ) ≥ D(λ) = v₀ + Σ_j b_j(λ_j) + min_δ Σ_j λ_j·δ,

where the last minimum of a linear function over ball ∩ box is taken exactly. The intercepts:

- v_j < 0: v_j p_j − λ_j·δ is concave, minus the largest of five affine functions of the pixels.
  Each is maximised over the patch: b_j is exact, and the best planes are the convex envelope of
  v_j p_j over the patch's own box (after Tjandraatmadja et al. 2020, arXiv:2006.14076). Slopes
  over the four outputs alone would give the envelope of a coarser set.
- v_j > 0: the function is convex, and four slopes s_j over the outputs are enough, λ_j = Σ_w s_jw
  A_jw. Its least value over the box of the outputs' intervals is taken at a breakpoint. It is
  exact for the slopes of a convex combination of the pieces, where b_j is v_j p_j's own.

A window in which one piece always wins is that piece.

D is a Lagrangian dual, concave in the slopes. It starts at the slopes of linear bound propagation
and climbs by Polyak's steps, deflected as Camerini, Fratta & Maffioli (1975) do and scaled by
|v_j|, the size of a window's slopes. They aim at what is asked, or less far above the best bound
so far: half as far each time that ten steps bring less than a tenth of that. A minimiser δ whose
margin is not positive, or what a few steps of descent find from there, refutes the bound and ends
the ascent; so does an aim that has come much closer than what is asked. What is left open then
can be searched: see `branching`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, margin_radii
from ..region import Region
from .branching import leaves
from .network import WindowNetwork
from .problem import problems
from .rounding import margin_rounding


class Linear:
    """Radii from linear bounds, optimised over the slopes.

    Source: Zhang et al. 2018 (arXiv:1811.00866) for the slopes to start from, Xu et al. 2021
    (arXiv:2011.13824) for optimising them, Tjandraatmadja et al. 2020 (arXiv:2006.14076) for
    planes over the pixels, Bunel et al. 2020 (arXiv:1909.06588) for the search.

    Args:
        steps: Of the slopes' ascent, for every question.
        nodes: Of the search of a question that the ascent leaves open; 0 for no search.
    """

    def __init__(self, steps: int = 100, nodes: int = 0) -> None:
        self.steps, self.nodes = steps, nodes

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
            proved = torch.zeros(len(asked.radius), dtype=torch.bool)
            least = asked.least.tolist()
            for index, (problem, alive) in enumerate(problems(network, x, asked, region)):
                tree = leaves(problem, alive, least[index], self.steps, self.nodes)
                proved[index] = all(leaf.bound > least[index] for leaf in tree)
            return proved

        rounding = margin_rounding(model, network, x, perturbations)
        return Radii(margin_radii(network.scores(x), y, perturbations.eps, rounding, proves))
