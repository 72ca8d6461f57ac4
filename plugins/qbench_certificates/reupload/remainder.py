"""How far a margin can be from its expansion about a centre, from states along the circuit.

Layer k, taken back to the start of the circuit, acts at centre + δ as 1 + A_k on what it does at
the centre. With v = Σ_k A_k|0⟩ and the telescoped product

    ψ(δ) − ψ = v + b,    b = Σ_k (1 + A_L)···(1 + A_k+1) A_k p_k,    p_k = Σ_{l<k} A_l|0⟩,

the margin ⟨M⟩ with χ = Mψ changes by 2Re⟨χ|v⟩ + 2Re⟨χ|b⟩ + ⟨v + b|M|v + b⟩. What the parts add up
to beyond first or second order in δ is bounded with these numbers, each a maximum over the region:

- first-order parts of the *known* vectors: P_k of p_k (Gram matrices of the tangents of all
  features), ε_k of A_k†χ (Gram matrices within a layer), N and K of M₋v and Mv;
- operator norms: ‖A_k‖ ≤ s_k = ½ `turn_rate`; and of a layer's K-th derivative, τ_k^K with
  τ_k = ½ Σ |α_j| for its angles α = Rδ, so that A_k u is within τ_k²/2 of its first order and
  τ_k³/6 of its second.

Write Q ≥ Στ_k², E_k ≥ Σ_{j>k} ‖A_j†χ‖, P for the largest P_k and μ = ‖χ‖. Then ‖v + b‖ is within
ρ = Q/2 + Σ s_k P_k of its first order, and the remainders are

- of first order: μQ + 2Σ (ε_k + s_k E_k) P_k + μPQ + 2(N + ρ)²,
- of second order: μQ^{3/2}/3 + 2Σ s_k E_k P_k + μPQ + QΣε_k + 2Kρ + 2ρ².
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.specs import Norm


@dataclass(frozen=True)
class Steps:
    """How long what each layer does can become, and what the layers add up to.

    In ℓ∞ all layers are at their largest at once. In ℓ2 they share one δ. With R_j = r_j ρ_j for
    rows ρ_j of norm 1, layer k reads z_k = ρδ of its rotations: either Cauchy-Schwarz is taken over
    the layers, as Σ ‖z_k‖² ≤ overlap · ‖δ‖², or the lengths are taken feature by feature and
    Cauchy-Schwarz over the features; the smaller of the two.

    Args:
        norm: Of the region.
        largest: For each layer, in ℓ2 for z_k within the ball, (n, layers).
        rates: In ℓ2 how much each feature adds at most, (n, layers, features).
        overlap: ‖ρ‖₂².
    """

    norm: Norm
    largest: Tensor
    rates: Tensor
    overlap: float

    def __getitem__(self, images: Tensor) -> Steps:
        return Steps(self.norm, self.largest[images], self.rates[images], self.overlap)

    def scaled(self, radius: Tensor) -> Steps:
        """The same in balls of other radii (n,), for steps in balls of radius 1."""
        largest, rates = radius[:, None] * self.largest, radius[:, None, None] * self.rates
        return Steps(self.norm, largest, rates, self.overlap)

    def total(self, factors: Tensor) -> Tensor:
        """Σ over layers, each times a factor of at least 0 (n, layers), as (n,)."""
        parts = factors * self.largest
        if self.norm == "linf":
            return parts.sum(1)
        apart = (self.overlap * parts.square().sum(1)).sqrt()
        together = (factors[..., None] * self.rates).sum(1)
        return torch.minimum(apart, torch.linalg.vector_norm(together, dim=1))

    def later(self) -> Tensor:
        """Σ over all later layers, for each layer, (n, layers)."""
        count = self.largest.shape[1]
        after = torch.ones(count, count, dtype=self.largest.dtype).triu(1)
        if self.norm == "linf":
            return self.largest @ after.mT
        apart = (self.overlap * (self.largest.square() @ after.mT)).sqrt()
        return torch.minimum(apart, torch.linalg.vector_norm(after @ self.rates, dim=2))

    def squares(self) -> Tensor:
        """Σ over layers of the squares, (n,)."""
        if self.norm == "linf":
            return self.largest.square().sum(1)
        apart = self.overlap * self.largest.square().amax(1)
        together = torch.linalg.eigvalsh(self.rates @ self.rates.mT)[:, -1].clamp(min=0)
        return torch.minimum(apart, together)


@dataclass(frozen=True)
class Remainder:
    """The numbers above for n margins.

    Args:
        prefix: First-order parts of P_k, (n, layers).
        backward: First-order parts of ε_k.
        turn, speed: s_k and τ_k.
        low, full: N and K, (n,).
        mean: μ, (n,).
    """

    prefix: Tensor
    backward: Steps
    turn: Steps
    speed: Steps
    low: Tensor
    full: Tensor
    mean: Tensor

    def __getitem__(self, index: Tensor) -> Remainder:
        return Remainder(
            self.prefix[index],
            self.backward[index],
            self.turn[index],
            self.speed[index],
            self.low[index],
            self.full[index],
            self.mean[index],
        )

    def scaled(self, radius: Tensor) -> Remainder:
        """The same in balls of other radii (n,), for numbers in balls of radius 1."""
        return Remainder(
            self.prefix * radius[:, None],
            self.backward.scaled(radius),
            self.turn.scaled(radius),
            self.speed.scaled(radius),
            self.low * radius,
            self.full * radius,
            self.mean,
        )

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The remainders of first and of second order, (n,)."""
        mean, squares = self.mean, self.speed.squares()
        prefix = self.prefix + squares[:, None] / 2
        later = self.backward.later() + (mean * squares)[:, None] / 2
        beyond = squares / 2 + self.turn.total(prefix)
        mixed = mean * prefix.amax(1) * squares
        deep = 2 * self.turn.total(later * prefix)
        first_order = (
            mean * squares
            + 2 * self.backward.total(prefix)
            + mixed
            + deep
            + 2 * (self.low + beyond).square()
        )
        second_order = (
            mean * squares**1.5 / 3
            + deep
            + mixed
            + squares * self.backward.total(torch.ones_like(prefix))
            + 2 * self.full * beyond
            + 2 * beyond.square()
        )
        return first_order, second_order
