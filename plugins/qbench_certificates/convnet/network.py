"""What the certificates of the convolutional network share: its weights, window by window."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qbench.errors import Unsupported

from ..parameters import check_function, float64

STRUCTURE = "convnet"
POOL = 2


@dataclass(frozen=True)
class WindowNetwork:
    """Conv2d → ReLU → MaxPool(2) → Linear in float64, as a sum over pooling windows.

    The score of class y is offset_y + Σ_j weight_yj max(0, a_j1, …, a_j4), where the a_jw are the
    outputs of the convolution in window j: affine in the pixels of one *patch* of the image.

    Args:
        kernel: (channels, 1, k, k).
        bias: (channels,).
        weight, offset: Linear layer (classes, windows), (classes,).
        side: Of the images.
    """

    kernel: Tensor
    bias: Tensor
    weight: Tensor
    offset: Tensor
    side: int

    @classmethod
    def read(cls, model: nn.Module) -> WindowNetwork:
        """The network of a model with `conv`, `linear` and the images' `side`.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        names = ("conv.weight", "conv.bias", "linear.weight", "linear.bias")
        kernel, bias, weight, offset = float64(model, names, STRUCTURE)
        side = getattr(model, "side", None)
        if kernel.dim() != 4 or kernel.shape[1] != 1 or not isinstance(side, int):
            raise Unsupported(
                f"{type(model).__name__} does not convolve one-channel images of a known side"
            )
        network = cls(kernel, bias, weight, offset, side)
        check_function(model, network.scores, side**2, STRUCTURE)
        return network

    def scores(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of x (n, side²)."""
        maps = functional.conv2d(x.view(-1, 1, self.side, self.side), self.kernel, self.bias)
        pooled = functional.max_pool2d(maps.relu(), POOL).flatten(1)
        return functional.linear(pooled, self.weight, self.offset)

    @property
    def pooled(self) -> int:
        """Side of a pooled map."""
        return (self.side - self.kernel.shape[-1] + 1) // POOL

    @property
    def patches(self) -> Tensor:
        """The pixels that each window of a map sees, (pooled², patch)."""
        pixels = torch.arange(self.side**2, dtype=torch.float64).view(1, 1, self.side, self.side)
        width = self.kernel.shape[-1] + POOL - 1
        seen = functional.unfold(pixels, width, stride=POOL)[0].mT.long()
        return seen.contiguous()

    @property
    def rows(self) -> Tensor:
        """What the outputs of one window read from their patch, (channels, 4, patch)."""
        rows = [
            functional.pad(self.kernel[:, 0], (j, POOL - 1 - j, i, POOL - 1 - i)).flatten(1)
            for i in range(POOL)
            for j in range(POOL)
        ]
        return torch.stack(rows, 1)

    @property
    def matrix(self) -> Tensor:
        """All outputs that are pooled, as rows over the image, (windows, 4, side²)."""
        channels, positions = len(self.kernel), len(self.patches)
        matrix = torch.zeros(channels, positions, POOL**2, self.side**2, dtype=torch.float64)
        index = self.patches[None, :, None, :].expand(channels, -1, POOL**2, -1)
        source = self.rows[:, None].expand(-1, positions, -1, -1)
        matrix.scatter_(3, index, source)
        return matrix.flatten(0, 1)

    def outputs(self, x: Tensor) -> Tensor:
        """a (n, windows, 4) of x (n, side²)."""
        a = x[:, self.patches][:, None] @ self.rows.mT[None]
        return (a + self.bias[:, None, None]).flatten(1, 2)
