"""What evaluation in floating point can change: the constants of running error bounds.

A certificate reasons about a model in exact arithmetic (in float64, with allowances). The model is
evaluated in its own precision, mostly float32: its predictions, and the attacks that challenge the
certificate, see rounded scores. So a margin counts as proved where it exceeds, at every point of
the region, a bound on what rounding can have done to it there. The bounds follow each model's own
operations with the largest intermediate values of the region, after Higham 2002 (Accuracy and
Stability of Numerical Algorithms, chapters 3 and 4). They hold for sums in any order, and with
fused multiply-add or without.

The other way would be to evaluate in float64 and to certify that. Then the certificate would say
nothing about the model that is on the leaderboard and is attacked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Of a sine or cosine, in units of roundoff: the vector libraries that torch calls promise at most
# 3.5 units in the last place, and the last place of a number up to 1 is at most a unit of roundoff.
TRIGONOMETRIC = 4.0


@dataclass(frozen=True)
class Precision:
    """The floating point numbers that a model computes with.

    Args:
        unit: Unit roundoff, by how much an operation can be off, relatively.
        tiny: The smallest normal number: what underflow can take from an operation.
    """

    unit: float
    tiny: float

    @classmethod
    def of(cls, model: nn.Module) -> Precision:
        """That of a model's parameters, or of what else it keeps."""
        kept = (*model.parameters(), *model.buffers())
        own = next((tensor.dtype for tensor in kept if tensor.is_floating_point()), torch.float32)
        numbers = torch.finfo(own)
        return cls(numbers.eps / 2, numbers.tiny)

    def rounded(self, n: int, magnitudes: Tensor) -> Tensor:
        """How far sums of n products can be off, from the sums of the products' magnitudes.

        γ_n = nu/(1 − nu) of them, where a number that is added as it is counts as a product.
        """
        return n * self.unit / (1 - n * self.unit) * magnitudes + n * self.tiny


# From images (m,), the label and the other class (m,) and radii (m,), to what a margin must exceed.
MarginRounding = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
