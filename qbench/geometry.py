"""The perturbation set: distance, projection and random starts for ℓ∞ and ℓ2 balls inside a box."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.specs import Norm, ThreatModel


def distance(x_adv: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """‖x_adv − x‖ of each row of (n, features), in float64."""
    delta = x_adv.double() - x.double()
    return delta.abs().amax(1) if norm == "linf" else torch.linalg.vector_norm(delta, dim=1)


def project(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """A point near x_adv that lies in the ε-ball around x and in the box, exactly.

    For ℓ∞ it is the nearest one. For ℓ2 the point is first clipped to the box and then pulled
    towards x, which keeps it in the box whenever x is. Rounding never leaves the ball: what
    floating point would put outside by a unit in the last place is moved inwards.

    Args:
        x_adv: Points (n, features).
        x: Centres (n, features).
        threat: Norm, ε and box.
    """
    if threat.norm == "linf":
        inside = torch.clamp(x_adv - x, -threat.eps, threat.eps) + x
        inside = _clip(inside, threat)
        outside = (inside.double() - x.double()).abs() > threat.eps
        return torch.where(outside, torch.nextafter(inside, x), inside)
    inside = _clip(x_adv, threat)
    for _ in range(3):
        length = distance(inside, x, "l2")
        if not bool((length > threat.eps).any()):
            return inside
        shrink = torch.where(length > threat.eps, threat.eps / length * (1 - 1e-7), 1.0)
        inside = (x.double() + (inside.double() - x.double()) * shrink[:, None]).to(x.dtype)
    # Budgets below the resolution of the pixels leave only the centre.
    return torch.where((distance(inside, x, "l2") > threat.eps)[:, None], x, inside)


def random_start(x: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """A point drawn uniformly from the ε-ball around each x, then projected into the box."""
    if threat.norm == "linf":
        noise = torch.rand(x.shape, generator=generator, dtype=x.dtype) * 2 - 1
    else:
        direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        radius = torch.rand(len(x), 1, generator=generator, dtype=x.dtype) ** (1 / x.shape[1])
        noise = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True) * radius
    return project(x + threat.eps * noise.to(x.device), x, threat)


def ascent_direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The unit step along which a linear loss grows fastest: sign for ℓ∞, direction for ℓ2."""
    if norm == "linf":
        return gradient.sign()
    length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    unit: Tensor = gradient / length.clamp_min(torch.finfo(gradient.dtype).tiny)
    return unit


def _clip(x: Tensor, threat: ThreatModel) -> Tensor:
    return x if threat.box is None else x.clamp(*threat.box)
