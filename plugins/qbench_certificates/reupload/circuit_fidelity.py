"""`circuit-fidelity`: no state as near as the perturbed one can be loses the margin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench.interfaces import Radii
from qbench.specs import Perturbations
from qbench_engines.statevector import StatevectorEngine

from .gates import ReUploadGates, read_gates
from .region import Region, proved_radii, region, total_turn
from .rounding import region_rounding


def angle_to_break(plus: Tensor, minus: Tensor, margin: Tensor) -> Tensor:
    """Bures angle within which every state keeps ⟨Z_y − Z_c⟩ above `margin`; 0 where none does.

    M = Z_y − Z_c has the eigenvalues 2, 0 and −2. For any w > 2, M + w is positive, so that for
    states φ and ψ, |⟨φ|ψ⟩|² ≤ ⟨φ|M + w|φ⟩ ⟨ψ|(M + w)⁻¹|ψ⟩: where φ has a margin of at most τ, the
    overlap squared with a ψ of weights p₊, p₀, p₋ is at most

        (τ + w) (p₊/(w + 2) + p₀/w + p₋/(w − 2)).

    With ρ = √(p₋/p₊) and w = 2(1 + ρ)/(1 − ρ) that is 1 − (√p₊ − √p₋)²/2 for τ = 0, which the
    nearest broken state reaches; and the same w is the best for small τ, but for its square.

    Args:
        plus, minus: Weights p₊ and p₋ of the state on the eigenspaces of 2 and −2.
        margin: τ, at least 0.
    """
    plus, minus = plus.clamp(min=0), minus.clamp(min=0)
    safe = plus > minus
    ratio = torch.where(safe, (minus / plus.clamp(min=1e-300)).sqrt(), 0.0)
    zero = (1 - plus - minus).clamp(min=0)
    paid = (1 - ratio) * (plus / 4 + zero / (2 * (1 + ratio)) + (plus * minus).sqrt() / 4)
    sine = (plus.sqrt() - minus.sqrt()).square() / 2 - margin * paid
    return torch.where(safe, sine.clamp(0, 1).sqrt().asin(), 0.0)


def turns_too_little(
    gates: ReUploadGates, inside: Region, weights: Tensor, y: Tensor, needed: Tensor
) -> Tensor:
    """Whether no state within reach of each centre's is misclassified, (n,).

    Args:
        gates, inside: The circuit and the region.
        weights: Probabilities of the measured outcomes at the centres, (n, 2^m).
        y: Labels (n,).
        needed: What a margin must exceed, (n,).
    """
    signs = torch.as_tensor(z_signs(len(gates.circuit.measured))).mT  # of Z, (m, 2^m)
    turn, safe = total_turn(gates, inside) / 2, torch.full_like(needed, torch.inf)
    for other in range(len(signs)):
        difference = signs[y] - signs[other]
        plus, minus = (weights * (difference > 0)).sum(1), (weights * (difference < 0)).sum(1)
        angle = angle_to_break(plus, minus, needed)
        safe = torch.where(y == other, safe, torch.minimum(safe, angle))
    return turn < safe


class CircuitFidelity:
    """Proves a radius when the state cannot turn as far as the nearest state that is misclassified.

    A gate of angular speeds (φ, θ, ω) turns the state by at most ½√(θ² + (|φ| + |ω|)²) in Bures
    angle; over all gates that is at most ½Σ_k a_k |δ_k|. In ℓ∞ the angle is counted from the centre
    of what the box leaves of the cube. The nearest misclassified state is exact (`angle_to_break`).

    Source: compare Weber et al. 2021 (npj Quantum Information 7, 76), which knows the scores of the
    state but not the state.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The largest radius proved for each image (`radii.largest_radii`).

        Raises:
            Unsupported: The model is not a re-uploading circuit.
            WeightsError: A parameter has a value that is not finite.
        """
        gates, x, y = read_gates(model), x.detach().double().cpu(), y.cpu()
        rounding = region_rounding(model, gates)
        gates = gates.seen_by(gates.circuit.measured)

        def proves(images: Tensor, eps: Tensor) -> Tensor:
            inside = region(x[images], eps, perturbations)
            weights = StatevectorEngine().probabilities(gates.circuit, gates.angles(inside.centre))
            return turns_too_little(gates, inside, weights, y[images], rounding(inside))

        return Radii(proved_radii(proves, len(x), perturbations.eps))
