"""`spectral-product`: the norms of a convolutional network's two linear maps, multiplied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from qbench.interfaces import LipschitzBound

from ..parameters import outward
from .network import WindowNetwork


class SpectralProduct:
    """‖convolution‖₂ · ‖linear‖₂ for Conv2d → ReLU → MaxPool(2) → Linear.

    ReLU and max-pooling over windows that do not overlap are 1-Lipschitz in ℓ2, biases do not
    matter, and norms of composed maps multiply. The convolution is unrolled to the matrix that it
    applies to an image: the norm of its kernel reshaped to (channels, 25) is *not* a bound, because
    neighbouring outputs share pixels. The scope is `"vector"`; a margin changes by at most √2 times
    the bound.

    Source: Szegedy et al. 2014 (arXiv:1312.6199), Sec. 4.3; Wendlinger et al. 2024
    (arXiv:2404.16154), Table I.
    """

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound of a model with `conv`, `linear` and the images' `image_shape`.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        network = WindowNetwork.read(model)
        convolution = convolution_matrix(network.kernel, network.image_shape)
        bound = spectral_norm(convolution) * spectral_norm(network.weight)
        return LipschitzBound(lipschitz=outward(bound), scope="vector")


def convolution_matrix(kernel: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """A convolution (channels, 1, k, k) unrolled: (outputs, pixels), outputs channel by channel."""
    rows, columns = image_shape
    pixels = torch.eye(rows * columns, dtype=kernel.dtype).view(-1, 1, rows, columns)
    return functional.conv2d(pixels, kernel).flatten(1).mT


def spectral_norm(matrix: Tensor) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(matrix, ord=2))
