"""SPSA: gradients estimated from scores along random signs (Uesato et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qbench_attacks.base import Search, SearchAttack, at_least
from qbench_attacks.losses import margin

_DECAY = (0.9, 0.999)  # Adam's β_1 and β_2


class SPSA(SearchAttack):
    """Simultaneous perturbation stochastic approximation, ascended by Adam on the margin.

    Queries stay in the box, not in the ball; an image leaves once it is fooled.

    Args:
        steps: Adam steps.
        samples: Pairs of queries that estimate one gradient.
        difference: Half the distance of a pair in every pixel, in pixel units.
        step: Adam's step in units of ε (in ℓ2, of ε/√features, so that one step is step·ε long).
    """

    def __init__(
        self,
        *,
        steps: int = 40,
        samples: int = 32,
        difference: float = 0.01,
        step: float = 0.25,
    ) -> None:
        at_least("steps", steps, 1)
        at_least("samples", samples, 1)
        self.steps, self.samples, self.difference, self.step = steps, samples, difference, step
        self.rank = margin

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, at most, and none differentiated."""
        return 1 + self.steps * (2 * self.samples + 1), 0

    def run(self, search: Search) -> None:
        """Ascend the estimates from the image."""
        search.visit(search.x)
        points, length = search.x, self.step * search.threat.eps
        if search.threat.norm == "l2":
            length /= math.sqrt(search.x.shape[1])
        mean, square = torch.zeros_like(points), torch.zeros_like(points)
        for step in range(1, self.steps + 1):
            standing = ~search.fooled
            search, points = search.only(standing), points[standing]
            mean, square = mean[standing], square[standing]
            if not len(search):
                return
            gradient = self._estimate(search, points)
            mean = _DECAY[0] * mean + (1 - _DECAY[0]) * gradient
            square = _DECAY[1] * square + (1 - _DECAY[1]) * gradient.square()
            first, second = mean / (1 - _DECAY[0] ** step), square / (1 - _DECAY[1] ** step)
            root = second.sqrt().clamp_min(torch.finfo(points.dtype).tiny)
            points = search.project(points + length * first / root)
            search.visit(points)

    def _estimate(self, search: Search, points: Tensor) -> Tensor:
        signs = search.signs(self.samples, points.shape[1])
        ahead = self._losses(search, points[:, None] + self.difference * signs)
        behind = self._losses(search, points[:, None] - self.difference * signs)
        slopes = (ahead - behind) / (2 * self.difference)
        return torch.einsum("ns,nsf->nf", slopes, signs) / self.samples

    def _losses(self, search: Search, points: Tensor) -> Tensor:
        """The margin at points (n, samples, features), (n, samples)."""
        scores = search.scores(search.clip(points).flatten(0, 1))
        labels = search.y.repeat_interleave(self.samples)
        losses = margin(scores, labels).view(-1, self.samples)
        return -losses if search.threat.targeted else losses
