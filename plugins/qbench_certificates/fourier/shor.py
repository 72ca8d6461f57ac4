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
_POINTS, _GRIDS = 17, 4  # at which f is sought, and how often closer
_TINY = 1e-12


def over_box(
    w: Tensor, q: Tensor, lean: Tensor, region: Region, limit: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The most that −s·Wδ + ½ (Wδ)ᵀ diag(q) Wδ can reach over a box, and where it may.

    Args:
        w: Frequencies (neurons, features).
        q: Curvatures (m, neurons), not negative.
        lean: Slopes s (m, neurons).
        region: The boxes.
        limit: Of interest is whether the bound is below it, (m,); where it cannot be, it is
            infinite.
        state: Unit vectors of the mixing method from an earlier call, (m, rank, features).

    Returns:
        The upper bound (m,), a δ (m, features) of the region, and the state.
    """
    centre, half = (region.low + region.high) / 2, (region.high - region.low) / 2
    shift = centre @ w.mT  # the parabola is expanded around the middle of the box
    constant = (-lean * shift + q / 2 * shift**2).sum(1)
    a = half * ((lean - q * shift) @ w)
    if state is None:
        state = torch.zeros(len(a), _RANK, a.shape[1], dtype=torch.float32)
        index = torch.arange(a.shape[1])
        state[:, 1 + index % (_RANK - 1), index] = 0.1  # directions that tell pixels apart
        state[:, 0] = -a.sign()
        state = state / torch.linalg.vector_norm(state, dim=1, keepdim=True).clamp(min=_TINY)
    state, length = _mix(w.float(), q.float(), half.float(), a.float(), state)
    # The first row is the mean of the relaxed signs, at most 1 in size.
    delta = centre + half * state[:, 0].double().clamp(-1, 1)
    reached = (q.float()[:, None] * ((state * half.float()[:, None]) @ w.float().mT) ** 2).sum(
        (1, 2)
    )
    relaxed = constant + reached / 2 - (a * state[:, 0]).sum(1)
    bound = torch.full_like(limit, torch.inf)
    part = (relaxed < limit).nonzero()[:, 0]
    multipliers = length[part].double()
    multipliers += 1e-6 * multipliers.amax(1, keepdim=True) + _TINY
    products = (w[:, None, :] * w).flatten(0, 1)
    gram = ((half[part] ** 2 / multipliers) @ products.mT).view(-1, len(w), len(w))
    root = q[part].sqrt()
    spectrum = torch.linalg.eigh(root[:, :, None] * gram * root[:, None, :])
    dual = Dual.of(root, w, half[part], spectrum, a[part], multipliers, multipliers.sum(1))
    bound[part] = constant[part] + dual.least()[0]
    return bound, delta.clamp(region.low, region.high), state


def _mix(w: Tensor, q: Tensor, half: Tensor, a: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Sweeps of the mixing method: the state, and the multipliers λ (m, features) it suggests.

    In float32: any multipliers are valid.
    """
    for _ in range(_SWEEPS):
        pull = (((state * half[:, None]) @ w.mT) * q[:, None]) @ w * half[:, None]
        pull[:, 0] -= a
        length = pull.square().sum(1).sqrt()  # far quicker than vector_norm along this axis
        state = pull / length.clamp(min=_TINY)[:, None]
    return state, length


def over_ball(
    w: Tensor, q: Tensor, lean: Tensor, region: Region, limit: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `over_box`, over ball ∩ box; the state is the box's multipliers ν (m, features).

    The bound is finite; it is not improved once all are below the limit.
    """
    root = q.sqrt()
    ones = torch.ones_like(region.low)
    spectrum = torch.linalg.eigh(root[:, :, None] * (w @ w.mT) * root[:, None, :])
    state = torch.zeros_like(region.low) if state is None else state
    best, delta = torch.full_like(region.radius, torch.inf), torch.zeros_like(region.low)
    kept = state
    for _ in range(_CUTS):
        a = lean @ w - state
        linear_part = torch.maximum(-state * region.low, -state * region.high).sum(1)
        drop, f, point = Dual.of(root, w, ones, spectrum, a, ones, region.radius**2).least()
        better = linear_part + drop < best
        best = torch.where(better, linear_part + drop, best)
        inside = point.clamp(region.low, region.high)
        delta = torch.where(better[:, None], inside, delta)
        kept = torch.where(better[:, None], state, kept)
        if bool((best < limit).all()):
            break
        # The multiplier that alone would move each pixel to the nearest point of its interval.
        free = point - state / f[:, None]
        state = f[:, None] * (free.clamp(region.low, region.high) - free)
    length = torch.linalg.vector_norm(delta, dim=1).clamp(min=_TINY)
    return best, delta * (region.radius / length).clamp(max=1)[:, None], kept


@dataclass(frozen=True)
class Dual:
    """U(f) = ½ f·weight + ½ aᵀ(fΛ − BᵀB)⁻¹a for f above the largest eigenvalue of BΛ⁻¹Bᵀ.

    B is diag(root) W diag(half): as all margins read the same W, the largest products are those of
    whole batches with one matrix.

    Args:
        root: (m, neurons).
        w: W (neurons, features).
        half, a, multipliers: Of the pixels; the last is the diagonal of Λ, (m, features) each.
        weight: (m,).
        values, vectors: Eigenvalues and eigenvectors of BΛ⁻¹Bᵀ.
        plain: aᵀΛ⁻¹a, (m,).
        parts: BΛ⁻¹a in the eigenvectors, (m, neurons).
    """

    root: Tensor
    w: Tensor
    half: Tensor
    a: Tensor
    multipliers: Tensor
    weight: Tensor
    values: Tensor
    vectors: Tensor
    plain: Tensor
    parts: Tensor

    @classmethod
    def of(
        cls,
        root: Tensor,
        w: Tensor,
        half: Tensor,
        spectrum: tuple[Tensor, Tensor],
        a: Tensor,
        multipliers: Tensor,
        weight: Tensor,
    ) -> Dual:
        """With what follows from B, Λ, a and the `spectrum`, (values, vectors)."""
        values, vectors = spectrum
        read = root * ((half * a / multipliers) @ w.mT)
        parts = (vectors.mT @ read[..., None])[..., 0]
        plain = (a * a / multipliers).sum(1)
        values = values.clamp(min=0)
        return cls(root, w, half, a, multipliers, weight, values, vectors, plain, parts)

    def __call__(self, f: Tensor) -> Tensor:
        """U(f) (m, k) of f (m, k)."""
        resolvent = self.parts[:, None] ** 2 / (f[..., None] - self.values[:, None])
        return f * self.weight[:, None] / 2 + (self.plain[:, None] + resolvent.sum(2)) / (2 * f)

    def least(self) -> tuple[Tensor, Tensor, Tensor]:
        """The least U found on grids of log f, each around the best point of the one before; that
        f; and −(fΛ − BᵀB)⁻¹a.

        U is convex; any f that the search ends at gives a valid bound.
        """
        floor = self.values[:, -1:] * (1 + 1e-7) + _TINY
        weight = self.weight[:, None].clamp(min=_TINY)
        # U grows once ½ f·weight exceeds it at a moderate f.
        start = 2 * floor + (self.plain[:, None] / weight).sqrt()
        roof = 2 * self(start) / weight + start
        low, high = torch.log((1e-6 * floor).clamp(min=_TINY)), torch.log(roof)
        share = torch.linspace(0, 1, _POINTS, dtype=low.dtype)
        for _ in range(_GRIDS):
            grid = low + (high - low) * share
            best, index = self(floor + grid.exp()).min(1, keepdim=True)
            f = floor + grid.gather(1, index).exp()
            low = grid.gather(1, (index - 1).clamp(min=0))
            high = grid.gather(1, (index + 1).clamp(max=_POINTS - 1))
        inverse = (self.vectors @ (self.parts / (f - self.values))[..., None])[..., 0]
        back = self.half * ((self.root * inverse) @ self.w)
        return best[:, 0], f[:, 0], -(self.a + back) / self.multipliers / f
