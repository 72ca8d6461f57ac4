"""How far a point of a box is from where a quadratic form is not positive, within the box."""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 14
_STEPS = 40  # of projected gradient, from the point of the previous weight
_LAST_STEPS = 200


def squared_distance_in_box(
    x: Tensor, form: Tensor, values: Tensor, box: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """A lower bound (n,) of ‖z − x‖² over z in the box with zᵀ form z ≤ 0, and the z (n, features)
    of that bound.

    For 0 ≤ μ ≤ −1/λ_min, φ(z) = ‖z − x‖² + μ zᵀ form z is convex, and its minimum over the box is
    such a bound, concave in μ. Where its maximum over μ is inside the interval, zᵀ form z = 0 at
    the minimiser, so that z is itself a nearest point, and the bound is exact.

    φ is minimised by accelerated projected gradients. Its Hessian is at least 2t with
    t = 1 + μλ_min, so that from any z of the box with gradient g, the minimum is at least
    φ(z) + Σ min_s (g_i s + t s²) over the s that keep z_i + s in the box: that is what is returned.

    Args:
        x: Points of the box, float64.
        form: Symmetric (features, features).
        values: Its eigenvalues, ascending.
        box: Smallest and largest value of an entry.

    Returns:
        The bounds, −inf where the form has no negative eigenvalue, and the points.
    """
    lowest, highest = values[0], values[-1]
    if lowest >= 0:
        return torch.full_like(x[:, 0], -torch.inf), x
    low, high = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    z = x
    for _ in range(_BISECTIONS):
        t = (low + high) / 2
        z = _minimise(z, x, form, (t - 1) / lowest, t, highest, box, _STEPS)
        outside = ((z @ form) * z).sum(1, keepdim=True) > 0
        low, high = torch.where(outside, low, t), torch.where(outside, t, high)
    weight = (high - 1) / lowest
    z = _minimise(z, x, form, weight, high, highest, box, _LAST_STEPS)
    quadratic = z @ form
    gradient = 2 * (z - x) + 2 * weight * quadratic
    value = (z - x).square().sum(1) + weight[:, 0] * (quadratic * z).sum(1)
    step = torch.clamp(-gradient / (2 * high), box[0] - z, box[1] - z)
    return value + (gradient * step + high * step.square()).sum(1), z


def _minimise(
    z: Tensor,
    x: Tensor,
    form: Tensor,
    weight: Tensor,
    t: Tensor,
    highest: Tensor,
    box: tuple[float, float],
    steps: int,
) -> Tensor:
    """Nesterov's method for ‖z − x‖² + weight · zᵀ form z, with Hessian in [2t, 2 + 2μλ_max]."""
    smooth = 1 + weight * highest.clamp(min=0)
    root = (t / smooth).sqrt()
    momentum, ahead = (1 - root) / (1 + root), z
    for _ in range(steps):
        half_gradient = ahead - x + weight * (ahead @ form)
        following = (ahead - half_gradient / smooth).clamp(*box)
        ahead, z = following + momentum * (following - z), following
    return z
