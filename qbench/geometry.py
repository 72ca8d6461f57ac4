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

    The point is clipped to the box and then pulled towards x, which keeps it in the box whenever x
    is; for ℓ∞ that gives the nearest point. A coordinate that rounding would put outside goes to
    the next number inwards.

    Args:
        x_adv: Points (n, features).
        x: Centres (n, features).
        threat: Norm, ε and box.
    """
    inside = x_adv if threat.box is None else x_adv.clamp(*threat.box)
    delta = inside.double() - x.double()
    if threat.norm == "linf":
        delta = delta.clamp(-threat.eps, threat.eps)
    else:
        length = torch.linalg.vector_norm(delta, dim=1, keepdim=True)
        delta = torch.where(length > threat.eps, delta * (threat.eps / length * (1 - 1e-12)), delta)
    point = (x.double() + delta).to(x.dtype)
    rounded_out = (point.double() - x.double()).abs() > delta.abs()
    return torch.where(rounded_out, torch.nextafter(point, x), point)


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
