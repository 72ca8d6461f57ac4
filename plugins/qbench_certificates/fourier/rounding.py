"""What rounding can take from a margin of a sine network within a radius."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.specs import Perturbations

from ..region import Region
from ..rounding import TRIGONOMETRIC, MarginRounding, Precision
from .network import SineNetwork


def margin_rounding(
    model: nn.Module, network: SineNetwork, x: Tensor, perturbations: Perturbations
) -> MarginRounding:
    """The running error bound of S sin z + C cos z, z = Wx, around images x (n, features).

    z_i is off by e_i ≤ γ |W_i|·|x|, which moves (sin z_i, cos z_i) by at most min(e_i, 2): a margin
    by Σ R_i min(e_i, 2) for its amplitudes R. Sines and cosines are off by `TRIGONOMETRIC` units,
    and each of the two scores, two sums over the neurons that are added, by γ of the sum of its
    own amplitudes, which |S_i sin z_i| + |C_i cos z_i| cannot exceed.
    """
    precision, (neurons, features) = Precision.of(model), network.w.shape
    trigonometric = TRIGONOMETRIC * precision.unit
    amplitudes = torch.hypot(network.s, network.c).sum(1)
    coefficients = network.s.abs() + network.c.abs()

    def bound(image: Tensor, label: Tensor, other: Tensor, radius: Tensor) -> Tensor:
        largest = Region.of(x[image], perturbations, radius).largest_values(x[image])
        error = precision.rounded(features, largest @ network.w.abs().mT)
        waves = network.waves(label, other).amplitude
        found = (waves * error.clamp(max=2)).sum(1)
        for side in (label, other):
            own = trigonometric * coefficients[side].sum(1)
            found = found + own + precision.rounded(neurons + 1, amplitudes[side] + own)
        return found

    return bound
