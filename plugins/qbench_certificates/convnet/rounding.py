"""What rounding can take from a margin of the convolutional network within a radius."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from qbench.specs import Perturbations

from ..region import Region
from ..rounding import MarginRounding, Precision
from .network import POOL, WindowNetwork


def margin_rounding(
    model: nn.Module, network: WindowNetwork, x: Tensor, perturbations: Perturbations
) -> MarginRounding:
    """The running error bound of Conv2d → ReLU → MaxPool → Linear around images x (n, pixels).

    An output of the convolution is a sum of k² products and the bias; it is off by e ≤ γ_{k²+1}
    (|kernel|·|x| + |bias|). ReLU and max-pooling make no error and enlarge none: a pooled value is
    off by the largest e of its window. A margin inherits Σ_j |v_j| e_j from them, and each of its
    two scores, a sum of the windows' products and the offset, is off by γ of Σ_j |w_j| p_j and the
    offset, with p_j the largest pooled value of the region.
    """
    precision, kernel, bias = Precision.of(model), network.kernel, network.bias
    reach = kernel.flatten(1).abs().sum(1)
    if perturbations.norm == "l2":
        reach = torch.linalg.vector_norm(kernel.flatten(1), dim=1)
    terms = kernel[0].numel() + 1

    def bound(image: Tensor, label: Tensor, other: Tensor, radius: Tensor) -> Tensor:
        largest = Region.of(x[image], perturbations, radius).largest_values(x[image])
        sizes = _pooled(network, largest, kernel.abs(), bias.abs())
        error = precision.rounded(terms, sizes)
        moved = (radius[:, None] * reach)[..., None]
        here = _pooled(network, x[image], kernel, bias)
        here = here.view(len(image), len(kernel), here.shape[1] // len(kernel))
        pooled = torch.minimum((here.clamp(min=0) + moved).flatten(1), sizes) + error
        weight, offset = network.weight, network.offset
        found = ((weight[label] - weight[other]).abs() * error).sum(1)
        for side in (label, other):
            parts = (weight[side].abs() * pooled).sum(1) + offset[side].abs()
            found = found + precision.rounded(weight.shape[1] + 1, parts)
        return found

    return bound


def _pooled(network: WindowNetwork, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The largest output of each window for another kernel and bias, (n, windows)."""
    maps = functional.conv2d(x.view(-1, 1, *network.image_shape), kernel, bias)
    return functional.max_pool2d(maps, POOL).flatten(1)
