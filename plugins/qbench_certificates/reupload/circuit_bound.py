"""`circuit-bound`: a re-uploading circuit changes no score faster than its weights allow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import LipschitzBound

from ..parameters import outward
from .gates import read_gates


class CircuitBound:
    """Σ over gates of ‖w_gate‖₂, the 2-norm of a gate's three weights.

    A score ⟨Z_k⟩ changes by at most 1 per unit of any rotation angle (2‖Z‖‖H‖ with ‖H‖ = ½). A gate
    has three angles w_j x_k(j) + θ_j; along a unit direction δ they add at most Σ_j |w_j δ_k(j)|,
    and by Cauchy-Schwarz that is at most ‖w_gate‖₂ when the three read different features. Where a
    gate reads one feature more than once, the absolute weights on it are added before the norm; a
    gate whose rotations read several features each has the norm of them all.

    The scope is `"score"`: one rotation can turn several ⟨Z_k⟩ at full speed at once, so the change
    of m scores together is only bounded by √m times this. A margin ⟨Z_y⟩ − ⟨Z_c⟩ changes by at most
    twice this.

    Source: Berberich et al. 2023 (arXiv:2311.11871), L = 2‖M‖ Σ_j ‖w_j‖‖H_j‖ for one observable M;
    Wendlinger et al. 2024 (arXiv:2404.16154), Table I, take it gate by gate.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound; it holds everywhere.

        Raises:
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates = read_gates(model)
        per_feature = gates.reading.abs().view(-1, 3, gates.features).sum(1)
        bound = float(torch.linalg.vector_norm(per_feature, dim=1).sum())
        return LipschitzBound(lipschitz=outward(bound), scope="score")
