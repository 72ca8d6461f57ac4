"""What the certificates of a sine network share: its weights, and its margins as cosines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..parameters import check_function, float64

STRUCTURE = "sine-network"


@dataclass(frozen=True)
class SineNetwork:
    """f(x) = S sin(Wx) + C cos(Wx) in float64.

    Args:
        w: Frequencies (neurons, features).
        s, c: Read-out (classes, neurons) of the sines and cosines.
    """

    w: Tensor
    s: Tensor
    c: Tensor

    @classmethod
    def read(cls, model: nn.Module) -> SineNetwork:
        """The network of a model with `frequencies`, `sine` and `cosine` weights.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
        """
        names = ("frequencies.weight", "sine.weight", "cosine.weight")
        network = cls(*float64(model, names, STRUCTURE))
        check_function(model, network.scores, network.w.shape[1], STRUCTURE)
        return network

    def scores(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of x (n, features)."""
        z = x @ self.w.mT
        return torch.sin(z) @ self.s.mT + torch.cos(z) @ self.c.mT

    def waves(self, label: Tensor, other: Tensor) -> Waves:
        """The margins of `label` over `other`, (m,) each: R_i cos(z_i − φ_i), summed over i."""
        s, c = self.s[label] - self.s[other], self.c[label] - self.c[other]
        return Waves(torch.hypot(s, c), torch.atan2(s, c))


@dataclass(frozen=True)
class Waves:
    """Cosines R cos(z − φ): amplitudes R ≥ 0 and phases φ, (m, neurons) each."""

    amplitude: Tensor
    phase: Tensor

    def __getitem__(self, index: Tensor) -> Waves:
        """The cosines at `index`."""
        return Waves(self.amplitude[index], self.phase[index])

    def value(self, z: Tensor) -> Tensor:
        """R cos(z − φ), (m, neurons)."""
        return self.amplitude * torch.cos(z - self.phase)

    def slope(self, z: Tensor) -> Tensor:
        """The derivative −R sin(z − φ), (m, neurons)."""
        return -self.amplitude * torch.sin(z - self.phase)
