"""What the tests of the convolutional network share: small networks, and the dual by numpy."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from qbench.specs import Perturbations
from qbench_certificates.convnet import kernel
from qbench_certificates.convnet.network import WindowNetwork
from qbench_certificates.convnet.problem import problems
from qbench_certificates.pairwise import MarginQueries
from qbench_certificates.region import Region
from qbench_classical.models import ConvNet

BUDGETS = (0.02, 0.1, 0.4, 1.5)
SCALES = {"conv.weight": 0.5, "conv.bias": 0.5, "linear.weight": 1.0, "linear.bias": 1.0}


def small(channels: int = 2, side: int = 6, classes: int = 3, size: int = 3) -> ConvNet:
    """A ConvNet of other sizes: 3x3 kernels on 6x6 images have windows that share pixels."""
    model = ConvNet(classes=classes)
    model.image_shape = side, side
    model.conv = nn.Conv2d(1, channels, size)
    model.linear = nn.Linear(channels * ((side - size + 1) // 2) ** 2, classes)
    return model.double()


def question(seed, norm, radius, randomise, **sizes):
    """One margin of a small network over a region, the network, an image, and its region."""
    model = randomise(small(**sizes), seed, SCALES)
    network = WindowNetwork.read(model)
    x = torch.rand(
        1, network.pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    size = torch.tensor([radius], dtype=torch.float64)
    region = Region.of(x, Perturbations(norm=norm, eps=BUDGETS), size)
    zero, one = torch.tensor([0]), torch.tensor([1])
    asked = MarginQueries(zero, zero, one, size, torch.zeros(1, dtype=torch.float64))
    ((problem, alive),) = problems(network, x, asked, region)
    return problem, alive, network, x, region


def dual(problem, alive, slopes, shares) -> float:
    """The bound that slopes prove, by numpy alone, window by window."""
    v, value, positions = problem.v, problem.constant, len(problem.patches)
    total = np.zeros_like(problem.low)

    def largest(c, low, high):
        if math.isinf(problem.radius):
            return np.maximum(c * low, c * high).sum()
        return kernel.support(c, low, high, problem.radius, np.empty_like(c))

    for j in range(len(v)):
        rows, seen = problem.rows[j // positions], problem.patches[j % positions]
        low, high, a = problem.low[seen], problem.high[seen], problem.a[j]
        pieces = [(a[w], rows[w]) if w < 4 else (0.0, 0 * rows[0]) for w in range(5) if alive[j, w]]
        if len(pieces) == 1:
            value += v[j] * pieces[0][0]
            total[seen] += v[j] * pieces[0][1]
        elif v[j] < 0:
            value -= max(largest(slopes[j] - v[j] * r, low, high) - v[j] * c for c, r in pieces)
            total[seen] += slopes[j]
        else:  # least over the intervals of the outputs, at a breakpoint of the largest
            lower, upper, s = problem.lower[j], problem.upper[j], shares[j]
            floor = max(0.0, lower.max())
            value += s @ a + min(
                v[j] * t
                - sum(
                    k * (min(t, u) if k > 0 else b) for k, b, u in zip(s, lower, upper, strict=True)
                )
                for t in [floor, *np.maximum(upper, floor)]
            )
            total[seen] += s @ rows
    return value - largest(-total, problem.low, problem.high)
