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
        image_shape: Rows and columns of the images.
    """

    kernel: Tensor
    bias: Tensor
    weight: Tensor
    offset: Tensor
    image_shape: tuple[int, int]

    @classmethod
    def read(cls, model: nn.Module) -> WindowNetwork:
        """The network of a model with `conv`, `linear` and the images' `image_shape`.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        names = ("conv.weight", "conv.bias", "linear.weight", "linear.bias")
        kernel, bias, weight, offset = float64(model, names, STRUCTURE)
        shape = getattr(model, "image_shape", None)
        square = kernel.dim() == 4 and kernel.shape[1] == 1 and kernel.shape[2] == kernel.shape[3]
        if not square or not isinstance(shape, tuple) or len(shape) != 2:
            raise Unsupported(
                f"{type(model).__name__} does not convolve one-channel images of a known shape by "
                "square kernels"
            )
        pooled = [(side - kernel.shape[-1] + 1) // POOL for side in shape]
        if min(pooled) < 1 or weight.shape[1] != len(kernel) * pooled[0] * pooled[1]:
            raise Unsupported(
                f"{type(model).__name__} does not pool its maps by {POOL} before its linear layer"
            )
        network = cls(kernel, bias, weight, offset, shape)
        check_function(model, network.scores, network.pixels, STRUCTURE)
        return network

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.image_shape[0] * self.image_shape[1]

    def scores(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of x (n, pixels)."""
        maps = functional.conv2d(x.view(-1, 1, *self.image_shape), self.kernel, self.bias)
        pooled = functional.max_pool2d(maps.relu(), POOL).flatten(1)
        return functional.linear(pooled, self.weight, self.offset)

    @property
    def patches(self) -> Tensor:
        """The pixels that each window of a map sees, (positions, patch)."""
        pixels = torch.arange(self.pixels, dtype=torch.float64).view(1, 1, *self.image_shape)
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
        """All outputs that are pooled, as rows over the image, (windows, 4, pixels)."""
        channels, positions = len(self.kernel), len(self.patches)
        matrix = torch.zeros(channels, positions, POOL**2, self.pixels, dtype=torch.float64)
        index = self.patches[None, :, None, :].expand(channels, -1, POOL**2, -1)
        source = self.rows[:, None].expand(-1, positions, -1, -1)
        matrix.scatter_(3, index, source)
        return matrix.flatten(0, 1)

    def outputs(self, x: Tensor) -> Tensor:
        """a (n, windows, 4) of x (n, pixels)."""
        a = x[:, self.patches][:, None] @ self.rows.mT[None]
        return (a + self.bias[:, None, None]).flatten(1, 2)
