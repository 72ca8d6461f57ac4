"""How far a margin's Hessian can bend it, from what the rotations move its states by."""

from __future__ import annotations

from torch import Tensor

from .expansion import Moved, Observed
from .gates import ReUploadGates
from .region import Region
from .tangents import products_with_tangents, rounding, turn


def hessian(gates: ReUploadGates, common: Moved, margin: Observed, k: int) -> Tensor:
    """The Hessian (features, features) of the k-th margin, to single precision.

    With i ∂ψ/∂x_k = t_k, and u_g, v_g the `turned` states and the `turned` χ = Mψ of a layer's
    rotations g, of which h comes after g,

        ∂²m/∂x_k∂x_l = 2Re⟨t_k|M|t_l⟩ + 2Re⟨χ|∂²ψ/∂x_k∂x_l⟩,    −⟨χ|∂²ψ/∂α_h∂α_g⟩ = ⟨v_h|u_g⟩,

    and of a rotation h and a feature of earlier layers ⟨v_h|t_k⟩, less what t_k has of this layer.
    """
    image, layers = int(margin.images[k]), common.layers
    before, angles = layers.turned[image], layers.angles[image]
    if bool(margin.other[k] == common.other[image]):
        after, rows = common.after[image], common.mixed[image].double()
    else:
        after = turn(margin.back[[k]], angles[None])[0]
        rows = products_with_tangents(gates, angles, before, after).double()
    both = (after @ before.mT).double()
    within = (both.tril() + both.tril(-1).mT) / 2
    mixed = gates.gather(gates.add_within(rows, within - both).flatten(0, 1))
    return 4 * (margin.above[k] - margin.below[k]) - 2 * (mixed + mixed.mT)


def curvature(
    gates: ReUploadGates, inside: Region, common: Moved, margin: Observed, k: int
) -> Tensor:
    """At least ½ max |δᵀHδ| for the Hessian H of the k-th margin at the centre.

    Tangents that are off by a share η and products by γ put 2⟨t|M|t⟩ off by at most
    ((2 + η) η + γ (1 + η)²) S², and the rest, where two rotations turn the state one after the
    other by at most ½ S² together, by at most (η + γ (1 + η) + ...) S², with S = Σ_k a_k |δ_k|.
    """
    image = int(margin.images[k])
    tangent, product = rounding(gates)
    turn = inside[[image]].linear(gates.weights[None])[0]
    error = (3 * tangent + 3 * product) * (1 + tangent) ** 2 * turn.square()
    return (inside.quadratic(image, hessian(gates, common, margin, k)) + error) / 2
