"""The set a certificate speaks about, ball ∩ box, and linear functions over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.specs import Perturbations

_STEPS = 6  # of the ball's multiplier; each gives a valid bound, and more clip more pixels
_ROUGH = 2  # the same, where very many bounds are wanted
_TINY = 1e-300


@dataclass(frozen=True)
class Region:
    """Perturbations δ of n images: `low` ≤ δ ≤ `high` (n, features), and ‖δ‖₂ ≤ `radius` (n,).

    The ball of ℓ∞ is part of `low` and `high`; its `radius` is infinite.
    """

    low: Tensor
    high: Tensor
    radius: Tensor

    @classmethod
    def of(cls, x: Tensor, perturbations: Perturbations, radius: Tensor) -> Region:
        """The region around images x (n, features), float64, for radii (n,)."""
        low = -radius[:, None].expand_as(x)
        high = -low
        if perturbations.box is not None:
            # A pixel that lies outside the box may stay where it is.
            smallest, largest = perturbations.box
            low = torch.maximum(low, (smallest - x).clamp(max=0))
            high = torch.minimum(high, (largest - x).clamp(min=0))
        ball = radius if perturbations.norm == "l2" else torch.full_like(radius, torch.inf)
        return cls(low, high, ball)

    def __getitem__(self, index: Tensor) -> Region:
        """The regions at `index`."""
        return Region(self.low[index], self.high[index], self.radius[index])

    def largest_values(self, x: Tensor) -> Tensor:
        """The largest |x + δ| of each pixel of the images x (n, features) that it is around."""
        return torch.maximum((x + self.low).abs(), (x + self.high).abs())

    def largest(self, c: Tensor, steps: int = _STEPS) -> tuple[Tensor, Tensor]:
        """An upper bound on c·δ over the region, (n,), and a δ that (almost) attains it.

        Exact for a box. With the ball, any multiplier μ > 0 gives the bound
        μr²/2 + Σ max{c_k δ_k − μδ_k²/2 : low_k ≤ δ_k ≤ high_k}; starting where no pixel is clipped,
        every step solves ‖δ‖ = r for the pixels that are clipped so far.

        Args:
            c: (n, features).
            steps: How often the multiplier is improved.
        """
        point = torch.where(c > 0, self.high, self.low)
        value = (c * point).sum(1)
        outside = (point * point).sum(1) > self.radius**2
        if not bool(outside.any()):
            return value, point
        part, c = self[outside], c[outside]
        square = part.radius**2
        mu = torch.linalg.vector_norm(c, dim=1) / part.radius.clamp(min=_TINY)
        for _ in range(steps):
            step = c / mu.clamp(min=_TINY)[:, None]
            free = (step > part.low) & (step < part.high)
            clipped = torch.where(free, 0, step.clamp(part.low, part.high)).square().sum(1)
            rest = torch.where(free, c, 0).square().sum(1)
            new = (rest / (square - clipped).clamp(min=_TINY)).sqrt()
            mu = torch.where((square > clipped) & (rest > 0), torch.minimum(new, mu), mu)
        step = (c / mu.clamp(min=_TINY)[:, None]).clamp(part.low, part.high)
        bound = (c * step - mu[:, None] / 2 * step * step).sum(1) + mu * square / 2
        value[outside] = torch.minimum(value[outside], bound)
        length = torch.linalg.vector_norm(step, dim=1).clamp(min=_TINY)
        point[outside] = step * (part.radius / length).clamp(max=1)[:, None]
        return value, point

    def interval(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds below and above on the products of δ with rows (m, features), each (n, m)."""
        if bool(torch.isinf(self.radius).all()):
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            centre, reach = middle @ rows.mT, half @ rows.abs().mT
            return centre - reach, centre + reach
        m = len(rows)
        index = torch.arange(len(self.low)).repeat_interleave(m)
        each = self[index]
        repeated = rows.repeat(len(self.low), 1)
        below, above = (each.largest(sign * repeated, _ROUGH)[0] for sign in (-1, 1))
        return -below.view(-1, m), above.view(-1, m)
