"""`circuit-bound`: a re-uploading circuit changes no score faster than its weights allow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.interfaces import LipschitzBound

from ..parameters import float64, outward

_STRUCTURE = "reupload-circuit"


class CircuitBound:
    """Σ over gates of ‖w_gate‖₂, the 2-norm of a gate's three weights.

    A score ⟨Z_k⟩ changes by at most 1 per unit of any rotation angle (2‖Z‖‖H‖ with ‖H‖ = ½). A gate
    has three angles w_j x_k(j) + θ_j; along a unit direction δ they add at most Σ_j |w_j δ_k(j)|,
    and by Cauchy-Schwarz that is at most ‖w_gate‖₂ when the three read different features. Where a
    gate reads one feature more than once, the absolute weights on it are added before the norm.

    The scope is `"score"`: one rotation can turn several ⟨Z_k⟩ at full speed at once, so the change
    of m scores together is only bounded by √m times this. A margin ⟨Z_y⟩ − ⟨Z_c⟩ changes by at most
    twice this.

    Source: Berberich et al. 2023 (arXiv:2311.11871), L = 2‖M‖ Σ_j ‖w_j‖‖H_j‖ for one observable M;
    Wendlinger et al. 2024 (arXiv:2404.16154), Table I, take it gate by gate.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound of a model with parameters w and θ (layers, qubits, 3).

        Raises:
            Unsupported: The model has no such parameters.
            WeightsError: A parameter has a value that is not finite.
        """
        w, theta = float64(model, ("w", "theta"), _STRUCTURE)
        features = getattr(model, "features", None)
        if w.dim() != 3 or w.shape[2] != 3 or theta.shape != w.shape:
            raise Unsupported(
                f"w {tuple(w.shape)} is not (layers, qubits, 3) like θ {tuple(theta.shape)}"
            )
        if not isinstance(features, int) or features < 1 or w.numel() % features:
            raise Unsupported(f"{w.numel()} rotations do not read {features!r} features in turn")
        rotations = torch.arange(w.numel()).view(-1, 3)
        per_feature = torch.zeros(len(rotations), features, dtype=torch.float64)
        per_feature.scatter_add_(1, rotations % features, w.abs().view(-1, 3))
        bound = float(torch.linalg.vector_norm(per_feature, dim=1).sum())
        return LipschitzBound(lipschitz=outward(bound), scope="score")
