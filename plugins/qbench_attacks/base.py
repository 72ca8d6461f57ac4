"""What every attack of ours shares: the ball, the box, and which of its points is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qbench.geometry import project, random_start
from qbench.specs import ThreatModel

Keep = Literal["best", "last"]


class Search:
    """The points visited for a batch of images, and the one kept of each.

    Every point is projected into the ball and the box before the model sees it. With
    `keep="best"` a point that fools the model beats one that does not, and among equals the one
    with the larger loss wins; with `keep="last"` the last one visited is kept.

    Args:
        model: The model under attack.
        x: Clean images (n, features).
        y: Labels to leave, or to reach when the threat model is targeted, (n,).
        threat: Norm, ε, box and goal.
        keep: Which point is kept.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, keep: Keep
    ) -> None:
        self.model, self.x, self.y, self.threat, self.keep = model, x, y, threat, keep
        self.kept = x.clone()
        self._fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._loss = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)

    def visit(self, x_adv: Tensor) -> None:
        """Try the points that x_adv is projected to."""
        x_adv = project(x_adv, self.x, self.threat)
        with torch.no_grad():
            self._consider(x_adv, self.model(x_adv))

    def gradient(self, x_adv: Tensor) -> tuple[Tensor, Tensor]:
        """Try the points that x_adv is projected to.

        Returns:
            Those points, and the gradient there of the loss that an attack ascends.
        """
        x_adv = project(x_adv, self.x, self.threat).requires_grad_()
        scores = self.model(x_adv)
        (gradient,) = torch.autograd.grad(self._losses(scores).sum(), x_adv)
        x_adv = x_adv.detach()
        self._consider(x_adv, scores.detach())
        return x_adv, gradient

    def _losses(self, scores: Tensor) -> Tensor:
        losses = cross_entropy(scores, self.y, reduction="none")
        return -losses if self.threat.targeted else losses

    def _consider(self, x_adv: Tensor, scores: Tensor) -> None:
        loss = self._losses(scores)
        hit = scores.argmax(1) == self.y
        fooled = hit if self.threat.targeted else ~hit
        better = (fooled & ~self._fooled) | ((fooled == self._fooled) & (loss > self._loss))
        if self.keep == "last":
            better = torch.ones_like(better)
        self.kept = torch.where(better[:, None], x_adv, self.kept)
        self._fooled = torch.where(better, fooled, self._fooled)
        self._loss = torch.where(better, loss, self._loss)


class SearchAttack(ABC):
    """An attack that searches the ball from one or more starts.

    Args:
        random_start: Start from a uniform point of the ball instead of from the image.
        restarts: How many starts; every one draws a fresh point.
        keep: `"best"` or `"last"`, see `Search`.
    """

    def __init__(
        self, *, random_start: bool = True, restarts: int = 1, keep: Keep = "best"
    ) -> None:
        if restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {restarts}")
        if keep not in ("best", "last"):
            raise ValueError(f"keep must be 'best' or 'last', got {keep!r}")
        self.random_start, self.restarts, self.keep = random_start, restarts, keep

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat_model: ThreatModel,
        generator: torch.Generator,
    ) -> Tensor:
        """Adversarial images (n, features) for images x and labels y (see `interfaces.Attack`)."""
        search = Search(model, x, y, threat_model, self.keep)
        for _ in range(self.restarts):
            start = random_start(x, threat_model, generator) if self.random_start else x
            self.search(search, start)
        return search.kept

    @abstractmethod
    def search(self, search: Search, start: Tensor) -> None:
        """Visit points, beginning at `start`."""
