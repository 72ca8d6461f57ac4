"""Proofs over a box from a margin's exact second order and the smaller remainder beyond it."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.circuits.circuit import z_signs

from ..amplitude.relaxation import is_positive
from .carried import Carried, can_carry, carry
from .commutators import commutators, observe_exactly
from .gates import ReUploadGates
from .region import Region


class Exact:
    """Proofs for the images of a region, of which each is carried once.

    The least m + g·δ + ½ δᵀHδ over the box is bounded as one quadratic form in (1, δ) by Shor's
    relaxation (`relaxation`): the worst case of the gradient need not be that of the Hessian, and
    |δᵀHδ| is well below Σ |H_kl| h_k h_l.

    Args:
        gates, inside: The circuit and the region.
        slack: What a proved margin must exceed, (n,).
    """

    def __init__(self, gates: ReUploadGates, inside: Region, slack: Tensor) -> None:
        self.gates, self.inside, self.slack = gates, inside, slack
        self.usable = inside.norm == "linf" and can_carry(gates)
        self.signs = torch.as_tensor(z_signs(len(gates.circuit.measured))[gates.circuit.outcomes])
        self.carried: dict[int, Carried] = {}

    def proves(self, image: int, y: Tensor, other: Tensor) -> bool:
        """Whether ⟨Z_y⟩ − ⟨Z_other⟩ of an image is proved to stay positive."""
        if not self.usable:
            return False
        gates, width = self.gates, self.inside.width[image]
        if image not in self.carried:
            self.carried[image] = carry(gates, self.inside.centre[image])
        carried = self.carried[image]
        margin = observe_exactly(gates, carried, self.signs[:, y] - self.signs[:, other])
        beyond = commutators(gates, carried, margin, width).remainder()
        least = margin.value - beyond - self.slack[image]
        return stays_positive(least, margin.gradient, margin.hessian, width)


def stays_positive(least: Tensor, gradient: Tensor, hessian: Tensor, width: Tensor) -> bool:
    """Whether least + g·δ + ½ δᵀHδ > 0 is proved for all |δ_k| ≤ width_k."""
    form = hessian.new_empty(len(gradient) + 1, len(gradient) + 1)
    form[0, 0], form[1:, 1:] = least, hessian / 2
    form[0, 1:] = form[1:, 0] = gradient / 2
    one, none = least.new_ones(1), least.new_zeros(1)
    centre = torch.cat([one, torch.zeros_like(width)])
    steepest = torch.cat([one, -width * gradient.sign()])
    return is_positive(form, centre, torch.cat([none, width]), steepest)
