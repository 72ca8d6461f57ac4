"""How far a margin can be from its expansion about a centre, from states along the circuit.

Layer k, taken back to the start of the circuit, acts at centre + δ as 1 + A_k on what it does at
the centre. With v = Σ_k A_k|0⟩ and the telescoped product

    ψ(δ) − ψ = v + b,    b = Σ_k (1 + A_L)···(1 + A_k+1) A_k p_k,    p_k = Σ_{l<k} A_l|0⟩,

the margin ⟨M⟩ with χ = Mψ changes by 2Re⟨χ|v⟩ + 2Re⟨χ|b⟩ + ⟨v + b|M|v + b⟩. What the parts add up
to beyond first or second order in δ is bounded with these numbers, each a maximum over the region:

- first-order parts of the *known* vectors: P_k of p_k (Gram matrices of the tangents of all
  features), ε_k of A_k†χ (Gram matrices within a layer), N and K of M₋v and Mv;
- operator norms: ‖A_k‖ ≤ s_k = ½ `turn_rate`; and of a layer's K-th derivative, τ_k^K with
  τ_k = ½ Σ |w_j δ_j|, so that A_k u is within τ_k²/2 of its first order and τ_k³/6 of its second.

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

from .gates import ReUploadGates, turn_rate
from .region import Region
from .tangents import Layers, backwards, gram, paulis, speeds, tangents, z_diagonals

_CUTS = 8  # parts of the circuit after which the tangents of all features are compared


@dataclass(frozen=True)
class Steps:
    """How long what each layer does can become, and what the layers add up to.

    In ℓ∞ all layers are at their largest at once. In ℓ2 they share one δ: either what they read has
    Σ ‖δ_k‖² ≤ repeats · ‖δ‖² and Cauchy-Schwarz is taken over the layers, or the lengths are taken
    feature by feature and Cauchy-Schwarz over the features; the smaller of the two.

    Args:
        norm: Of the region.
        largest: For each layer, in ℓ2 with what it reads counted as independent, (n, layers).
        rates: In ℓ2 how much each feature adds at most, (n, layers, features).
        repeats: How many rotations read each feature.
    """

    norm: Norm
    largest: Tensor
    rates: Tensor
    repeats: int

    def __getitem__(self, images: Tensor) -> Steps:
        return Steps(self.norm, self.largest[images], self.rates[images], self.repeats)

    def total(self, factors: Tensor) -> Tensor:
        """Σ over layers, each times a factor of at least 0 (n, layers), as (n,)."""
        parts = factors * self.largest
        if self.norm == "linf":
            return parts.sum(1)
        apart = (self.repeats * parts.square().sum(1)).sqrt()
        together = (factors[..., None] * self.rates).sum(1)
        return torch.minimum(apart, torch.linalg.vector_norm(together, dim=1))

    def later(self) -> Tensor:
        """Σ over all later layers, for each layer, (n, layers)."""
        count = self.largest.shape[1]
        after = torch.ones(count, count, dtype=self.largest.dtype).triu(1)
        return torch.stack([self.total(row.expand_as(self.largest)) for row in after], 1)

    def squares(self) -> Tensor:
        """Σ over layers of the squares, (n,)."""
        if self.norm == "linf":
            return self.largest.square().sum(1)
        apart = self.repeats * self.largest.square().amax(1)
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


@dataclass(frozen=True)
class Moved:
    """What the features move the states of n images by; the same for every margin.

    Args:
        prefix, turn, speed: As in `Remainder`.
        last: For each image i ∂ψ/∂x at the end, (2^qubits, features).
    """

    prefix: Tensor
    turn: Steps
    speed: Steps
    last: list[Tensor]


def moved(gates: ReUploadGates, layers: Layers, inside: Region) -> Moved:
    """The tangents of all images of a region, and their sizes in it."""
    count = gates.circuit.layers
    operators = paulis(gates.circuit, layers.states[:, :-1])
    own = _steps(gates, speeds(gates, layers, operators), inside)
    cuts = sorted({-(-count * part // _CUTS) for part in range(1, _CUTS + 1)})
    reached, last = torch.zeros(len(own.largest), count + 1, dtype=torch.float64), []
    for image in range(len(own.largest)):
        found = tangents(gates, layers, operators, image, cuts)
        reached[image, cuts] = torch.stack(
            [inside.quadratic(image, gram(columns)).sqrt() for columns in found]
        )
        last.append(found[-1])
    prefix = []
    for layer in range(count):  # p_k reaches from the last cut to its layer by at most its steps
        cut = max((cut for cut in cuts if cut <= layer), default=0)
        between = torch.zeros_like(own.largest)
        between[:, cut:layer] = 1
        prefix.append(reached[:, cut] + own.total(between))
    widths = gates.tile(inside.width) * gates.w.abs() / 2
    rates = _by_feature(gates, widths.flatten(2), inside.norm)
    if inside.norm == "linf":
        turn, speed = turn_rate(widths).sum(-1), widths.sum((2, 3))
    else:
        turn = speed = torch.linalg.vector_norm(widths, dim=(2, 3))
    return Moved(
        torch.stack(prefix, 1),
        Steps(inside.norm, turn, rates, gates.repeats),
        Steps(inside.norm, speed, rates, gates.repeats),
        last,
    )


def remainder(
    gates: ReUploadGates,
    layers: Layers,
    inside: Region,
    common: Moved,
    images: Tensor,
    y: Tensor,
    other: Tensor,
) -> Remainder:
    """The remainders of the margins ⟨Z_y⟩ − ⟨Z_other⟩ of some images, y and other like images."""
    signs = z_diagonals(gates.circuit)
    observable = signs[y] - signs[other]
    mine = layers[images]
    target = mine.states[:, -1] * observable
    operators = paulis(gates.circuit, backwards(mine, target))
    backward = _steps(gates, speeds(gates, mine, operators), inside[images])
    low, full = [], []
    for image, m in zip(images.tolist(), observable, strict=True):
        below, above = (gram(common.last[image][part]) for part in (m < 0, m > 0))
        low.append(inside.quadratic(image, below).sqrt())
        full.append(2 * inside.quadratic(image, below + above).sqrt())
    return Remainder(
        common.prefix[images],
        backward,
        common.turn[images],
        common.speed[images],
        torch.stack(low),
        torch.stack(full),
        torch.linalg.vector_norm(target, dim=1),
    )


def _steps(gates: ReUploadGates, products: Tensor, inside: Region) -> Steps:
    """Lengths of Σ_g δ_g u_g in each layer, for Gram matrices (n, layers, g, g) of the u_g."""
    widths = gates.tile(inside.width).flatten(2)
    single = products.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt() * widths
    if inside.norm == "linf":
        largest = torch.einsum("nlg,nlgh,nlh->nl", widths, products.abs(), widths).sqrt()
    else:
        spectrum = torch.linalg.eigvalsh(products)[..., -1].clamp(min=0)
        largest = spectrum.sqrt() * inside.width[:, :1]
    return Steps(inside.norm, largest, _by_feature(gates, single, inside.norm), gates.repeats)


def _by_feature(gates: ReUploadGates, rates: Tensor, norm: Norm) -> Tensor:
    """Rates of the rotations of each layer (n, layers, g), added up for each feature, in ℓ2."""
    if norm == "linf":
        return rates[..., :0]
    reads = (torch.arange(gates.w.numel()) % gates.features).view(rates.shape[1:])
    found = rates.new_zeros(*rates.shape[:2], gates.features)
    return found.scatter_add_(2, reads.expand_as(rates), rates)
