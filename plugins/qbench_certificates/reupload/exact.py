"""Proofs over a box from a margin's exact second order and the smaller remainder beyond it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..amplitude.relaxation import is_positive
from .carried import carry
from .commutators import commutators, observe_exactly
from .gates import ReUploadGates


def margin_stays_positive(
    gates: ReUploadGates, x: Tensor, width: Tensor, signs: Tensor, needed: Tensor
) -> bool:
    """Whether a margin is proved to exceed what is needed in the box around x (features,).

    The least m + g·δ + ½ δᵀHδ over the box is bounded as one quadratic form in (1, δ) by Shor's
    relaxation (`relaxation`): the worst case of the gradient need not be that of the Hessian, and
    |δᵀHδ| is well below Σ |H_kl| h_k h_l.

    Args:
        gates: The circuit.
        x, width: Centre and half-widths of the box, (features,).
        signs: The diagonal of the margin's observable, (2^q,).
        needed: What the margin must exceed.
    """
    carried = carry(gates, x)
    margin = observe_exactly(gates, carried, signs)
    beyond = commutators(gates, carried, margin, width).remainder()
    return stays_positive(margin.value - beyond - needed, margin.gradient, margin.hessian, width)


def stays_positive(least: Tensor, gradient: Tensor, hessian: Tensor, width: Tensor) -> bool:
    """Whether least + g·δ + ½ δᵀHδ > 0 is proved for all |δ_k| ≤ width_k."""
    form = hessian.new_empty(len(gradient) + 1, len(gradient) + 1)
    form[0, 0], form[1:, 1:] = least, hessian / 2
    form[0, 1:] = form[1:, 0] = gradient / 2
    one, none = least.new_ones(1), least.new_zeros(1)
    centre = torch.cat([one, torch.zeros_like(width)])
    steepest = torch.cat([one, -width * gradient.sign()])
    return is_positive(form, centre, torch.cat([none, width]), steepest)
