"""HopSkipJump: walks along the decision boundary, seeing labels only (Chen et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qbench.geometry import ascent_direction
from qbench_attacks.base import Search, at_least
from qbench_attacks.minimum import MinimumNormAttack, Nearest, norms

_SHRINKS = 12  # halvings of a step before it is given up


class HopSkipJump(MinimumNormAttack):
    """HopSkipJump (Algorithm 2), in ℓ2 and ℓ∞, untargeted.

    It asks the model only whether a point is misclassified. Starts are random pictures of several
    grains, because many models give every picture of fine noise the same class; the nearest
    misclassified one is taken, and an image for which none is found stays as it is.

    Args:
        steps: Boundary steps.
        samples: Queries of the first gradient estimate; step t takes samples·√t.
        starts: Random pictures tried.
        halvings: Bisections of each approach to the boundary.
        probe: Length of the queries that estimate a gradient, as a share of the ℓ2 distance so far.
            The paper's 1/features is finer than the bisections resolve.
    """

    def __init__(
        self,
        *,
        steps: int = 20,
        samples: int = 50,
        starts: int = 40,
        halvings: int = 12,
        probe: float = 0.02,
    ) -> None:
        at_least("steps", steps, 1)
        at_least("samples", samples, 1)
        at_least("starts", starts, 1)
        self.steps, self.samples = steps, samples
        self.starts, self.halvings, self.probe = starts, halvings, probe

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, at most, and none differentiated."""
        estimates = sum(self._samples(step) for step in range(1, self.steps + 1))
        walks = self.steps * (self.halvings + _SHRINKS)
        return 2 + self.starts + self.halvings + estimates + walks, 0

    def minimise(self, nearest: Nearest) -> None:
        """Find a start, then step along the boundary towards the image."""
        for start in range(self.starts):
            nearest.attempt(_picture(nearest.search, start))
        rows = (nearest.found & (nearest.length > 0)).nonzero()[:, 0]
        if not len(rows):
            return
        walk = Nearest(nearest.search.only(rows), probe=False)
        far = walk.to_boundary(nearest.points[rows], self.halvings)
        for step in range(1, self.steps + 1):
            far = self._step(walk, far, step)
        nearest.note_some(rows, walk.points, walk.length.isfinite())

    def _samples(self, step: int) -> int:
        return round(self.samples * math.sqrt(step))

    def _step(self, walk: Nearest, points: Tensor, step: int) -> Tensor:
        """Along the estimated gradient as far as points stay adversarial, then back inwards."""
        search = walk.search
        distance = norms(points - search.x, search.threat.norm)[:, None]
        probe = self.probe * torch.linalg.vector_norm(points - search.x, dim=1, keepdim=True)
        direction = self._estimate(search, points, probe, self._samples(step))
        length = distance / math.sqrt(step)
        reached = torch.zeros(len(search), dtype=torch.bool, device=points.device)
        ahead = points
        for _ in range(_SHRINKS):
            left = (~reached).nonzero()[:, 0]
            if not len(left):
                break
            tried = search.clip(points + length * direction)[left]
            good = walk.attempt_some(left, tried)
            ahead = ahead.clone()
            ahead[left[good]] = tried[good]
            reached[left] = good
            length = length / 2
        return walk.to_boundary(ahead, self.halvings)

    def _estimate(self, search: Search, points: Tensor, probe: Tensor, samples: int) -> Tensor:
        """The unit direction, in the norm's sense, into the adversarial side (Eq. 16)."""
        features = points.shape[1]
        if search.threat.norm == "linf":
            noise = 2 * search.uniform(samples, features) - 1
        else:
            noise = search.normal(samples, features)
        noise = noise / torch.linalg.vector_norm(noise, dim=2, keepdim=True)
        asked = search.clip(points[:, None] + probe[:, None] * noise)
        noise = (asked - points[:, None]) / probe[:, None]
        labels = search.scores(asked.flatten(0, 1)).argmax(1).view(-1, samples)
        answers = torch.where(labels != search.y[:, None], 1.0, -1.0).to(points.dtype)
        mean = answers.mean(1, keepdim=True)
        # The mean is a control variate; where all answers agree it would leave nothing.
        weights = torch.where(mean.abs() < 1, answers - mean, answers)
        estimate: Tensor = torch.einsum("ns,nsf->nf", weights, noise)
        return ascent_direction(estimate, search.threat.norm)


def _picture(search: Search, number: int) -> Tensor:
    """Random pictures (n, features) over the whole box, or around the images where there is none.

    Their grain goes through 1, 2, 4, ... pixels up to the whole image, then starts again.
    """
    features = search.x.shape[1]
    height, width = search.threat.image_shape(features) or (1, features)
    grains = max(width.bit_length(), 1)
    grain = 2 ** (number % grains)
    draws = search.uniform(-(-height // grain), -(-width // grain))
    rows, columns = torch.arange(height) // grain, torch.arange(width) // grain
    noise = draws[:, rows[:, None], columns[None, :]].flatten(1)
    if search.threat.box is None:
        spread = search.threat.eps * 2.0 ** (number // grains + 1)
        return search.x + spread * (2 * noise - 1)
    low, high = search.threat.box
    return low + (high - low) * noise
