"""How far a margin can be from its second order: a remainder that knows commutators and phases.

The gates, in order, act on the state ψ at the end as W_i = 1 + A_i (see `carried`). Let
|x_i⟩ = |ψ⟩ + |p_i⟩ be ψ after the gates before i, times a phase of our choice: with a real number
c_j for every rotation, gate i takes x_i to (1 + Â_i) x_i = e^{iΣ c_j α_j} W_i x_i, so that to first
order p_i is −i Σ_j α_j (σ_j − c_j) ψ; c_j = ⟨ψ|σ_j|ψ⟩ makes it orthogonal to ψ, since a phase moves
no margin. As x_i changes gate by gate, with D_i = W_i†MW_i − M

    m(δ) − m = Σ_i ⟨x_i|D_i|x_i⟩ = Σ_i ⟨ψ|D_i|ψ⟩ + 2Re⟨D_iψ|p_i⟩ + ⟨p_i|D_i|p_i⟩.

To first order D_iψ is d_i = iΣ_j α_j (σ_j χ − Mσ_j ψ), χ = Mψ, the same for all c. What the parts
add up to beyond second order is bounded with maxima over the region,

- of known vectors of first order (Gram matrices): P_i of p_i, K_i of Mp_i, and F_i of f_i, the sum
  of d_l over the gates l after i;
- of operators: s_i of ‖A_i‖ (`turn_rate`/2), τ_i^K of the K-th derivative, τ_i = ½ Σ |α_j|, and
  s_i, τ_i with Σ |c_j α_j| added as ŝ_i, τ̂_i for Â_i.

Let w_i = Σ_{l<i} Â_l ψ. Then p_i − w_i is what unitary operators make of Â_l w_l, l < i, so that

    ‖w_i‖ ≤ P_i + q_i,    ‖p_i − w_i‖ ≤ ρ_i = Σ_{l<i} ŝ_l (P_l + q_l),    q_i = ½ Σ_{l<i} τ̂_l²,
    ‖p_i‖ ≤ π_i = P_i + q_i + ρ_i,    ‖Mp_i‖ ≤ κ_i = min(K_i + 2 (q_i + ρ_i), 2π_i).

- ⟨ψ|D|ψ⟩ = 2Re⟨χ|Aψ⟩ + ⟨Aψ|M|Aψ⟩ is within μτ³/3 + 2τ³ of its second order, μ = ‖χ‖.
- W D ψ = MAψ − Aχ, so Dψ is within (1 + μ/2)τ² + s ‖d‖ of d: it takes 2π times that.
- Beyond first order p_i is the sum over l < i of Â_l p_l and of what Â_l ψ has of higher order:
  exchanging the sums, Σ_i 2Re⟨d_i|·⟩ is at most Σ_l 2F_l (ŝ_l π_l + ½τ̂_l²).
- ⟨p|D|p⟩ = 2Re⟨Ap|Mp⟩ + ⟨Ap|M|Ap⟩ is at most 2sπκ + 2s²π².
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .carried import Carried, turned
from .gates import ReUploadGates, turn_rate


@dataclass(frozen=True)
class Commutators:
    """One margin of one image, and what its gates do to it in a box; by gate, in order.

    Args:
        mean: μ.
        prefix, full, suffix: P, K and F, (gates,).
        own: Σ_j ‖d_j‖ |α_j|, at least ‖d‖, the same.
        turn, speed: s and τ, the same.
        phase: Σ_j |c_j α_j|, the same.
    """

    mean: Tensor
    prefix: Tensor
    full: Tensor
    suffix: Tensor
    own: Tensor
    turn: Tensor
    speed: Tensor
    phase: Tensor

    def remainder(self) -> Tensor:
        """The most by which the margin can be below its second order."""
        turn, speed, phased = self.turn, self.speed, self.turn + self.phase
        fast = (speed + self.phase).square()
        added = (fast.cumsum(0) - fast) / 2  # q
        later = phased * (self.prefix + added)
        beyond = added + later.cumsum(0) - later  # q + ρ
        most = self.prefix + beyond
        seen = torch.minimum(self.full + 2 * beyond, 2 * most)
        terms = (
            (self.mean / 3 + 2) * speed.pow(3)
            + ((2 + self.mean) * speed.square() + 2 * turn * self.own) * most
            + self.suffix * (2 * phased * most + fast)
            + 2 * turn * most * seen
            + 2 * (turn * most).square()
        )
        return terms.sum()


@dataclass(frozen=True)
class Observed:
    """A margin m = ⟨ψ|M|ψ⟩ at the centre.

    Args:
        value, gradient, hessian: m and its derivatives by the features.
        mean: μ.
        seen: Mσ_j ψ less c_j χ, (layers, rotations, 2^(q + 1)).
        change: σ_j χ − Mσ_j ψ, the same.
    """

    value: Tensor
    gradient: Tensor
    hessian: Tensor
    mean: Tensor
    seen: Tensor
    change: Tensor


def phases(carried: Carried) -> Tensor:
    """c_j = ⟨ψ|σ_j|ψ⟩, (layers, rotations)."""
    return carried.moved @ carried.state


def observe_exactly(gates: ReUploadGates, carried: Carried, signs: Tensor) -> Observed:
    """A margin with its exact derivatives.

    With t_k = i ∂ψ/∂x_k, ∂²m/∂x_k∂x_l = 2Re⟨t_k|M|t_l⟩ − 2Re⟨χ|∂²…⟩, where of two rotations the
    later one, h, and the earlier one, g, give ⟨σ_h χ|σ_g ψ⟩.

    Args:
        gates, carried: The circuit.
        signs: The diagonal of M, (2^q,).
    """
    diagonal, state, moved = signs.repeat_interleave(2), carried.state, carried.moved.flatten(0, 1)
    image = diagonal * state
    back = turned(carried.axes, carried.later, image)
    through = torch.stack([-state[1::2], state[::2]], 1).flatten()  # iψ
    slopes = 2 * moved @ (diagonal * through)
    tangents = gates.gather(moved)
    both = back.flatten(0, 1) @ moved.mT
    ordered = both.tril() + both.tril(-1).mT
    mixed = gates.gather(gates.gather(ordered).mT)
    seen = diagonal * carried.moved
    return Observed(
        (image * state).sum(),
        gates.gather(slopes[:, None])[:, 0],
        2 * (tangents * diagonal) @ tangents.mT - mixed - mixed.mT,
        torch.linalg.vector_norm(image),
        seen - phases(carried)[..., None] * image,
        back - seen,
    )


def commutators(
    gates: ReUploadGates, carried: Carried, margin: Observed, width: Tensor
) -> Commutators:
    """What may happen to a margin for |δ_k| ≤ width_k, (features,)."""
    phase = phases(carried)
    moved = carried.moved - phase[..., None] * carried.state
    angles = gates.widths(width[None])[0]
    by_gate = angles.view(-1, 3)
    sizes = torch.linalg.vector_norm(margin.change, dim=2)
    return Commutators(
        margin.mean,
        lengths(gates, moved, width),
        lengths(gates, margin.seen, width),
        lengths(gates, margin.change, width, after=True),
        (sizes * angles).view(-1, 3).sum(1),
        turn_rate(by_gate) / 2,
        by_gate.sum(1) / 2,
        (phase.abs() * angles).view(-1, 3).sum(1),
    )


def lengths(gates: ReUploadGates, vectors: Tensor, width: Tensor, after: bool = False) -> Tensor:
    """max ‖Σ α_j v_j‖ over the rotations of the gates before each gate, or after it, (gates,).

    Σ_kl |G_kl| h_k h_l bounds its square, G being the Gram matrix of the features' vectors.

    Args:
        gates, width: The circuit, and how far the features go.
        vectors: v_j, (layers, rotations, size).
        after: Whether the gates after it are meant.
    """
    readings, steps = (
        gates.reading.view(-1, 3, gates.features),
        vectors.reshape(-1, 3, vectors.shape[2]),
    )
    if after:
        readings, steps = readings.flip(0), steps.flip(0)
    total = vectors.new_zeros(gates.features, vectors.shape[2])
    gram = vectors.new_zeros(gates.features, gates.features)
    square, found = gram.sum(), []
    for reading, some in zip(readings, steps, strict=True):
        found.append(square)
        read = (reading != 0).any(0).nonzero()[:, 0]
        total[read] += width[read, None] * (reading[:, read].mT @ some)
        rows, old = total[read] @ total.mT, gram[read]
        grown = rows.abs() - old.abs()  # of what is in the rows and the columns, once in both
        square = square + 2 * grown.sum() - grown[:, read].sum()
        gram[read], gram[:, read] = rows, rows.mT
    squares = torch.stack(found).clamp(min=0)
    return (squares.flip(0) if after else squares).sqrt()
