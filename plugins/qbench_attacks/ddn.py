"""Decoupled direction and norm: an ℓ2 minimum-norm attack (Rony et al. 2019)."""

from __future__ import annotations

import math

import torch

from qbench.geometry import ascent_direction
from qbench_attacks.base import at_least
from qbench_attacks.losses import named
from qbench_attacks.minimum import MinimumNormAttack, Nearest


class DDN(MinimumNormAttack):
    """DDN (Algorithm 1): the direction follows the gradient; the radius shrinks after a hit.

    The radius starts at ε; the step length falls from 1 to 0.01 on a cosine, in units of ε here
    (the paper's images have perturbations of about 1).

    Args:
        steps: Gradient steps.
        factor: γ, by which the radius shrinks after a hit and grows after a miss.
        loss: `"ce"`, `"margin"` or `"dlr"` (see `losses`).
        halvings: Bisections of the segment from the image to the point found, at the end.
    """

    def __init__(
        self, *, steps: int = 100, factor: float = 0.05, loss: str = "ce", halvings: int = 10
    ) -> None:
        at_least("steps", steps, 1)
        self.steps, self.factor, self.halvings = steps, factor, halvings
        self.loss = named(loss)

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated."""
        return 3 + self.steps + self.halvings, self.steps

    def minimise(self, nearest: Nearest) -> None:
        """Follow the gradient on a sphere whose radius closes in on the boundary."""
        search, eps = nearest.search, nearest.search.threat.eps
        x, delta = search.x, torch.zeros_like(search.x)
        radius = torch.full((len(search), 1), eps, dtype=x.dtype, device=x.device)
        for step in range(self.steps):
            points = search.clip(x + delta)
            scores, _, _, gradient = search.differentiate(
                points, lambda seen: search.objective(seen, self.loss)
            )
            adversarial = search.adversarial(scores)
            nearest.note(points, adversarial)
            length = 0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2
            delta = points - x + length * eps * ascent_direction(gradient, "l2")
            change = torch.where(adversarial, 1 - self.factor, 1 + self.factor)
            radius = radius * change[:, None].to(x.dtype)
            delta = radius * ascent_direction(delta, "l2")
        nearest.attempt(search.clip(x + delta))
        nearest.refine(self.halvings)
