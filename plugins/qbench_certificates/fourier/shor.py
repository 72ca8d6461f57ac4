"""Upper bounds on a quadratic function over ball ∩ box, by Lagrangian duality.

The most that −s·Wδ + ½ (Wδ)ᵀ diag(q) Wδ, q ≥ 0, reaches over a region is bounded by a
one-dimensional function. With M = BᵀB and multipliers Λ = diag(λ) such that fΛ ≻ M,

    max {−a·τ + ½ τᵀMτ} ≤ ½ f·weight + ½ aᵀ(fΛ − M)⁻¹a,

over |τ_k| ≤ 1 (the box, scaled by its half-widths) with weight Σ_k λ_k, or over ‖τ‖ ≤ r with λ = 1
and weight r². It is convex in f, and cheap after one eigendecomposition of the size of the neurons.
Over the ball the best f is exact (S-lemma). Over the box this is the dual of Shor's relaxation; λ
comes from its primal in low rank, by the mixing method. In ℓ2 the pixel box enters through linear
multipliers ν: −ν·δ is at most its maximum over the box. Any λ, f and ν give a valid bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..region import Region

_RANK = 6
_SWEEPS = 10  # of the mixing method, at every call
_CUTS = 3  # how often the multipliers of the pixel box are set, at every call
_HALVINGS = 24
_TINY = 1e-12


def over_box(
    w: Tensor, q: Tensor, lean: Tensor, region: Region, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The most that −s·Wδ + ½ (Wδ)ᵀ diag(q) Wδ can reach over a box, and where it may.

    Args:
        w: Frequencies (neurons, features).
        q: Curvatures (m, neurons), not negative.
        lean: Slopes s (m, neurons).
        region: The boxes.
        state: Unit vectors of the mixing method from an earlier call, (m, features, rank).

    Returns:
        The upper bound (m,), a δ (m, features) of the region, and the state.
    """
    centre, half = (region.low + region.high) / 2, (region.high - region.low) / 2
    shift = centre @ w.mT  # the parabola is expanded around the middle of the box
    constant = (-lean * shift + q / 2 * shift**2).sum(1)
    a = half * ((lean - q * shift) @ w)
    root = q.sqrt()[..., None] * w * half[:, None, :]
    if state is None:
        state = torch.zeros(*a.shape, _RANK, dtype=a.dtype)
        index = torch.arange(a.shape[1])
        state[:, index, 1 + index % (_RANK - 1)] = 0.1  # directions that tell pixels apart
        state[..., 0] = -a.sign()
        state = state / torch.linalg.vector_norm(state, dim=-1, keepdim=True).clamp(min=_TINY)
    for _ in range(_SWEEPS):
        pull = root.mT @ (root @ state)
        pull[..., 0] -= a
        length = torch.linalg.vector_norm(pull, dim=-1)
        state = pull / length.clamp(min=_TINY)[..., None]
    multipliers = length + 1e-6 * length.amax(1, keepdim=True) + _TINY
    dual = Dual.of(root, a, multipliers, multipliers.sum(1))
    # The first column is the mean of the relaxed signs, at most 1 in size.
    delta = centre + half * state[..., 0].clamp(-1, 1)
    return constant + dual.least()[0], delta.clamp(region.low, region.high), state


def over_ball(
    w: Tensor, q: Tensor, lean: Tensor, region: Region, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `over_box`, over ball ∩ box; the state is the box's multipliers ν (m, features)."""
    root = q.sqrt()[..., None] * w
    ones = torch.ones_like(region.low)
    state = torch.zeros_like(region.low) if state is None else state
    best, delta = torch.full_like(region.radius, torch.inf), torch.zeros_like(region.low)
    kept = state
    for _ in range(_CUTS):
        a = lean @ w - state
        linear_part = torch.maximum(-state * region.low, -state * region.high).sum(1)
        drop, f, point = Dual.of(root, a, ones, region.radius**2).least(region.radius)
        better = linear_part + drop < best
        best = torch.where(better, linear_part + drop, best)
        inside = point.clamp(region.low, region.high)
        delta = torch.where(better[:, None], inside, delta)
        kept = torch.where(better[:, None], state, kept)
        # The multiplier that alone would move each pixel to the nearest point of its interval.
        free = point - state / f[:, None]
        state = f[:, None] * (free.clamp(region.low, region.high) - free)
    length = torch.linalg.vector_norm(delta, dim=1).clamp(min=_TINY)
    return best, delta * (region.radius / length).clamp(max=1)[:, None], kept


@dataclass(frozen=True)
class Dual:
    """U(f) = ½ f·weight + ½ aᵀ(fΛ − BᵀB)⁻¹a for f above the largest eigenvalue of BΛ⁻¹Bᵀ.

    Args:
        root, a, multipliers: B (m, neurons, features), a and the diagonal of Λ (m, features).
        weight: (m,).
        values, vectors: Eigenvalues and eigenvectors of BΛ⁻¹Bᵀ.
        plain: aᵀΛ⁻¹a, (m,).
        parts: BΛ⁻¹a in the eigenvectors, (m, neurons).
    """

    root: Tensor
    a: Tensor
    multipliers: Tensor
    weight: Tensor
    values: Tensor
    vectors: Tensor
    plain: Tensor
    parts: Tensor

    @classmethod
    def of(cls, root: Tensor, a: Tensor, multipliers: Tensor, weight: Tensor) -> Dual:
        """With the eigendecomposition done."""
        values, vectors = torch.linalg.eigh((root / multipliers[:, None, :]) @ root.mT)
        parts = (vectors.mT @ (root @ (a / multipliers)[..., None]))[..., 0]
        plain = (a * a / multipliers).sum(1)
        return cls(root, a, multipliers, weight, values.clamp(min=0), vectors, plain, parts)

    def __call__(self, f: Tensor) -> Tensor:
        """U(f), (m,)."""
        resolvent = self.parts**2 / (f[:, None] - self.values)
        return f * self.weight / 2 + (self.plain + resolvent.sum(1)) / (2 * f)

    def least(self, radius: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The least U found by golden-section search over log f, that f, and −(fΛ − BᵀB)⁻¹a.

        U is convex; any f that the search ends at gives a valid bound.
        """
        top = self.values[:, -1]
        floor = top * (1 + 1e-7) + _TINY
        # U grows once ½ f·weight exceeds it at a moderate f.
        start = 2 * floor + (self.plain / self.weight.clamp(min=_TINY)).sqrt()
        roof = 2 * self(start) / self.weight.clamp(min=_TINY) + start
        low = torch.log((1e-6 * floor).clamp(min=_TINY))
        high = torch.log(roof)
        ratio = (5**0.5 - 1) / 2
        inner, outer = high - ratio * (high - low), low + ratio * (high - low)
        at_inner, at_outer = self(floor + inner.exp()), self(floor + outer.exp())
        for _ in range(_HALVINGS):
            left = at_inner < at_outer
            low, high = torch.where(left, low, inner), torch.where(left, outer, high)
            inner, outer = high - ratio * (high - low), low + ratio * (high - low)
            at_inner, at_outer = self(floor + inner.exp()), self(floor + outer.exp())
        f = floor + ((low + high) / 2).exp()
        inverse = (self.vectors @ (self.parts / (f[:, None] - self.values))[..., None])[..., 0]
        solution = (self.a + (self.root.mT @ inverse[..., None])[..., 0]) / self.multipliers
        return self(f), f, -solution / f[:, None]
