"""`circuit-grouped`: a circuit's rotations added up for each feature that they read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import LipschitzBound

from ..parameters import outward
from .gates import read_gates


class CircuitGrouped:
    """L = ‖a‖₂, where a_k is the sum of |R_jk| over the rotations j, with angles θ + R x.

    A rotation with a generator of norm ½ moves one ⟨Z⟩ by at most 1 per radian, so moving the
    input along δ moves it by at most Σ_k a_k |δ_k| ≤ ‖a‖₂ ‖δ‖₂. Rotations that cannot change the
    score (`gates.matters`) are left out, for each score its own. A margin changes by at most twice
    this.

    Source: Berberich et al. 2023 (arXiv:2311.11871), L = 2‖M‖ Σ_j ‖w_j‖‖H_j‖, with Cauchy-Schwarz
    taken once over the features instead of once for every gate.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound; it holds everywhere.

        Raises:
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates = read_gates(model)
        bounds = [
            torch.linalg.vector_norm(gates.seen_by((wire,)).weights)
            for wire in gates.circuit.measured
        ]
        return LipschitzBound(lipschitz=outward(float(max(bounds))), scope="score")
