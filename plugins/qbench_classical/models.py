"""Classical classifiers of Wendlinger et al. 2024 for 16x16 images in four classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Conv2d(1→6, 5x5) → ReLU → MaxPool(2) → Linear(216→4)."""

    published_names: ClassVar[Mapping[str, str]] = {
        "conv.0.weight": "conv.weight",
        "conv.0.bias": "conv.bias",
        "out.weight": "linear.weight",
        "out.bias": "linear.bias",
    }

    def __init__(self, side: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(1, 6, kernel_size=5)
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(6 * ((side - 4) // 2) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, side²)."""
        maps = self.pool(torch.relu(self.conv(x.view(-1, 1, self.side, self.side))))
        return self.linear(maps.flatten(1))  # type: ignore[no-any-return]


class Fourier(nn.Module):
    """z = Wx; scores S sin z + C cos z: the function class of a re-uploading circuit, classically.

    (Schuld, Sweke and Meyer 2021 write such circuits as truncated Fourier series.)
    """

    published_names: ClassVar[Mapping[str, str]] = {
        "encoding_layer.weight": "frequencies.weight",
        "linear_sin.weight": "sine.weight",
        "linear_cos.weight": "cosine.weight",
    }

    def __init__(self, features: int = 256, neurons: int = 32, classes: int = 4) -> None:
        super().__init__()
        self.frequencies = nn.Linear(features, neurons, bias=False)
        self.sine = nn.Linear(neurons, classes, bias=False)
        self.cosine = nn.Linear(neurons, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, features)."""
        z = self.frequencies(x)
        return self.sine(torch.sin(z)) + self.cosine(torch.cos(z))  # type: ignore[no-any-return]
