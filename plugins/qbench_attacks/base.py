"""What every attack of ours shares: the ball, the box, the check, and which point is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from qbench.geometry import project, random_start
from qbench.specs import ThreatModel
from qbench_attacks.losses import Loss, cross_entropy

Keep = Literal["best", "last"]

# An attack that takes every class but the label in turn declares its passes for this many: what
# four classes, as in the glyphs, leave.
USUAL_TARGETS = 3


@dataclass
class _Batch:
    """What all parts of one search share, one row an image of the whole batch."""

    x: Tensor
    generator: torch.Generator
    kept: Tensor
    fooled: Tensor
    merit: Tensor


class Search:
    """The points visited for a batch of images, and the one kept of each.

    Every point is projected into the ball and the box before the model sees it. With
    `keep="best"` a point that fools the model beats one that does not, and among equals the one
    with the larger `rank` wins; with `keep="last"` the last one visited is kept.

    `only` confines the search to some of its images. Random numbers are drawn for the whole batch
    whichever images take part, so that those that leave change nothing for those that stay (as far
    as the model itself scores an image alike in every batch).

    Args:
        model: The model under attack.
        x: Clean images (n, features).
        y: Labels to leave, or to reach when the threat model is targeted, (n,).
        threat: Norm, ε, box and goal.
        generator: Source of all randomness.
        keep: Which point is kept.
        rank: The loss that compares points.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: ThreatModel,
        generator: torch.Generator,
        *,
        keep: Keep = "best",
        rank: Loss = cross_entropy,
    ) -> None:
        self.model, self.x, self.y, self.threat = model, x, y, threat
        self.keep, self.rank = keep, rank
        self._rows = torch.arange(len(x), device=x.device)
        self._batch = _Batch(
            x=x,
            generator=generator,
            kept=x.clone(),
            fooled=torch.zeros(len(x), dtype=torch.bool, device=x.device),
            merit=torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device),
        )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def generator(self) -> torch.Generator:
        """Source of all randomness."""
        return self._batch.generator

    @property
    def kept(self) -> Tensor:
        """The point kept of each image, (n, features)."""
        return self._batch.kept[self._rows]

    @property
    def fooled(self) -> Tensor:
        """Whether that point fools the model, (n,)."""
        return self._batch.fooled[self._rows]

    def only(self, chosen: Tensor) -> Search:
        """The same search for the images chosen by a mask or by indices, (n,)."""
        part = object.__new__(Search)
        part.__dict__.update(self.__dict__)
        part.x, part.y, part._rows = self.x[chosen], self.y[chosen], self._rows[chosen]
        return part

    def random_start(self) -> Tensor:
        """A uniform point of the ball around each image."""
        batch = self._batch
        return random_start(batch.x, self.threat, batch.generator)[self._rows]

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (n, *shape)."""
        batch = self._batch
        size = (len(batch.x), *shape)
        drawn = torch.rand(size, generator=batch.generator, dtype=batch.x.dtype)
        return drawn.to(batch.x.device)[self._rows]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (n, *shape)."""
        batch = self._batch
        size = (len(batch.x), *shape)
        drawn = torch.randn(size, generator=batch.generator, dtype=batch.x.dtype)
        return drawn.to(batch.x.device)[self._rows]

    def signs(self, *shape: int) -> Tensor:
        """−1 or 1 at random, (n, *shape)."""
        return torch.where(self.uniform(*shape) < 0.5, -1.0, 1.0).to(self.x.dtype)

    def project(self, points: Tensor) -> Tensor:
        """Points pulled into the ball and the box."""
        return project(points, self.x, self.threat)

    def clip(self, points: Tensor) -> Tensor:
        """Points pulled into the box alone, for attacks that minimise the distance."""
        return points if self.threat.box is None else points.clamp(*self.threat.box)

    def visit(self, points: Tensor) -> Tensor:
        """Try the points that these are projected to; returns their scores (n, classes)."""
        points = self.project(points)
        scores = self.scores(points)
        self._consider(points, scores)
        return scores

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Try the points that these are projected to.

        Returns:
            Those points, and there the loss to ascend (n,) and its gradient.
        """
        points = self.project(points).requires_grad_()
        scores = self.model(points)
        losses = self.objective(scores, loss)
        (gradient,) = torch.autograd.grad(losses.sum(), points)
        points = points.detach()
        self._consider(points, scores.detach())
        return points, losses.detach(), gradient

    def scores(self, points: Tensor) -> Tensor:
        """What the model says of points as they are, none of which is kept."""
        with torch.no_grad():
            scores: Tensor = self.model(points)
        return scores

    def objective(self, scores: Tensor, loss: Loss) -> Tensor:
        """The loss with the sign that makes the attack ascend it."""
        losses = loss(scores, self.y)
        return -losses if self.threat.targeted else losses

    def adversarial(self, scores: Tensor) -> Tensor:
        """Whether these scores (n, classes) reach the attack's goal."""
        hit = scores.argmax(1) == self.y
        return hit if self.threat.targeted else ~hit

    def _consider(self, points: Tensor, scores: Tensor) -> None:
        batch, rows = self._batch, self._rows
        merit, fooled = self.objective(scores, self.rank), self.adversarial(scores)
        before, best = batch.fooled[rows], batch.merit[rows]
        better = (fooled & ~before) | ((fooled == before) & (merit > best))
        if self.keep == "last":
            better = torch.ones_like(better)
        batch.kept[rows] = torch.where(better[:, None], points, batch.kept[rows])
        batch.fooled[rows] = torch.where(better, fooled, before)
        batch.merit[rows] = torch.where(better, merit, best)


class SearchAttack(ABC):
    """An attack that searches the ball; `keep` and `rank` are those of its `Search`."""

    keep: Keep = "best"
    rank: Loss = staticmethod(cross_entropy)

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat_model: ThreatModel,
        generator: torch.Generator,
    ) -> Tensor:
        """Adversarial images (n, features) for images x and labels y (see `interfaces.Attack`)."""
        search = Search(model, x, y, threat_model, generator, keep=self.keep, rank=self.rank)
        self.run(search)
        return search.kept

    @abstractmethod
    def run(self, search: Search) -> None:
        """Visit points. One search may be handed to one attack after the other."""


def at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError, naming the parameter, unless value ≥ least."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")


def others(scores: Tensor, y: Tensor) -> Tensor:
    """Classes other than the label, best score first: (n, classes − 1)."""
    order = scores.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order[:, :-1]
