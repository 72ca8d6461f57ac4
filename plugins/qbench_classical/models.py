"""Classical classifiers of Wendlinger et al. 2024: theirs are for 16x16 images in four classes.

Both define `regularisation()`, the square of a bound on how fast their scores can move in ℓ∞; a
recipe without λ does not use it. Beside them stands the twin of the quanvolutional network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from qbench.errors import Unsupported

_KERNEL, _SMALLEST = 5, 4
_PATCH = 2  # side of the patches that a quanvolution reads


class ConvNet(nn.Module):
    """Conv2d(1→6, 5x5) → ReLU → MaxPool(2) → Linear; of 16x16 images, Linear(216→4).

    Args:
        image_shape: Rows and columns, at least 4 each; with fewer than 6 of either, the kernel is
            3x3.
        classes: Their number.

    Raises:
        Unsupported: There are no images of that size.
    """

    published_names: ClassVar[Mapping[str, str]] = {
        "conv.0.weight": "conv.weight",
        "conv.0.bias": "conv.bias",
        "out.weight": "linear.weight",
        "out.bias": "linear.bias",
    }

    def __init__(self, image_shape: Sequence[int] | None = (16, 16), classes: int = 4) -> None:
        super().__init__()
        if image_shape is None:
            raise Unsupported("it convolves images, and a table has none")
        rows, columns = image_shape
        if min(rows, columns) < _SMALLEST:
            raise Unsupported(
                f"it convolves images of at least {_SMALLEST}x{_SMALLEST}, not {rows}x{columns}"
            )
        kernel = _KERNEL if min(rows, columns) > _KERNEL else 3
        self.image_shape = rows, columns
        self.conv = nn.Conv2d(1, 6, kernel_size=kernel)
        self.pool = nn.MaxPool2d(2)
        windows = ((rows - kernel + 1) // 2) * ((columns - kernel + 1) // 2)
        self.linear = nn.Linear(6 * windows, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, rows · columns)."""
        maps = self.pool(torch.relu(self.conv(x.view(-1, 1, *self.image_shape))))
        return self.linear(maps.flatten(1))  # type: ignore[no-any-return]

    def regularisation(self) -> Tensor:
        """(Σ_k Σ_j |v_kj| ‖kernel_c(j)‖₁)² over the classes k and the pooled units j.

        Within ‖δ‖∞ ≤ ε every output of channel c of the convolution, and so each unit pooled from
        them, moves by at most ε ‖kernel_c‖₁. So the sum over the scores of how far each moves is at
        most ε times the root of this.
        """
        kernels = self.conv.weight.abs().flatten(1).sum(1)
        weights = self.linear.weight.abs().sum(0).view(len(kernels), -1).sum(1)
        return (weights * kernels).sum().square()


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

    def regularisation(self) -> Tensor:
        """(Σ_k Σ_i R_ki ‖W_i‖₁)² over the classes k and the neurons i; R_ki = √(S_ki² + C_ki²).

        Score k is Σ_i R_ki cos(z_i − φ_ki), and z_i moves by at most ε ‖W_i‖₁ within ‖δ‖∞ ≤ ε. So
        the sum over the scores of how far each moves is at most ε times the root of this.
        """
        # A norm, not `hypot`: an amplitude of 0 has the gradient 0 instead of none.
        waves = torch.stack([self.sine.weight, self.cosine.weight])
        amplitudes: Tensor = torch.linalg.vector_norm(waves, dim=0).sum(0)
        return (amplitudes * self.frequencies.weight.abs().sum(1)).sum().square()


class PatchNetwork(nn.Module):
    """Conv2d(1→4, 2x2, stride 2) → tanh → Linear: a quanvolutional network without its circuit.

    What `qbench_quantum.quanvolution` measures, this convolves: the same patches, as many channels
    of the same range [-1, 1], the same linear layer.

    Args:
        image_shape: Rows and columns, at least 2 each; an odd one is filled up with zeros.
        classes: Their number.

    Raises:
        Unsupported: There are no images of that size.
    """

    def __init__(self, image_shape: Sequence[int] | None = (16, 16), classes: int = 4) -> None:
        super().__init__()
        if image_shape is None:
            raise Unsupported("it convolves images, and a table has none")
        rows, columns = image_shape
        if min(rows, columns) < _PATCH:
            raise Unsupported(
                f"it convolves images of at least {_PATCH}x{_PATCH}, not {rows}x{columns}"
            )
        self.image_shape = rows, columns
        self.conv = nn.Conv2d(1, _PATCH**2, kernel_size=_PATCH, stride=_PATCH)
        patches = math.ceil(rows / _PATCH) * math.ceil(columns / _PATCH)
        self.linear = nn.Linear(_PATCH**2 * patches, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, rows · columns)."""
        rows, columns = self.image_shape
        images = pad(x.view(-1, 1, rows, columns), (0, columns % _PATCH, 0, rows % _PATCH))
        return self.linear(torch.tanh(self.conv(images)).flatten(1))  # type: ignore[no-any-return]
