"""Auto-PGD: step lengths that follow the progress (Croce and Hein 2020, Algorithm 1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from qbench.geometry import ascent_direction
from qbench_attacks.base import USUAL_TARGETS, Search, SearchAttack, at_least, others
from qbench_attacks.losses import Loss, margin, named, targeted_dlr

_MOMENTUM = 0.75  # the paper's α: weight of the new step against the move before


def checkpoints(steps: int) -> list[int]:
    """Iterations w_j = ⌈p_j · steps⌉ after which the step length is reconsidered (Sec. 3.3).

    p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06), up to 1. Shares are
    counted in hundredths, because 0.7 · 100 in floating point would round up to 71.
    """
    shares = [0, 22]
    while shares[-1] <= 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    at = [-(-share * steps // 100) for share in shares[:-1]]
    return sorted(set(at))


class APGD(SearchAttack):
    """Auto-PGD on one loss.

    The first step is 2ε long. At a checkpoint it is halved, and the ascent goes on from the best
    point so far, if less than `rho` of the steps since the last one raised the loss, or if the step
    was not halved there and the largest loss has not grown since.

    Args:
        loss: `"ce"`, `"margin"` or `"dlr"` (see `losses`).
        steps: Steps a start; each needs one gradient.
        restarts: Random starts; from the second on, only for images still standing.
        rho: Share of successful steps below which the step is halved.
    """

    def __init__(
        self, *, loss: str = "ce", steps: int = 100, restarts: int = 1, rho: float = 0.75
    ) -> None:
        at_least("steps", steps, 1)
        at_least("restarts", restarts, 1)
        self.steps, self.restarts, self.rho = steps, restarts, rho
        self.rank = self.loss = named(loss)

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated, at most."""
        return self.restarts * (self.steps + 1), self.restarts * self.steps

    def run(self, search: Search) -> None:
        """Ascend from every random start."""
        for restart in range(self.restarts):
            part = search.only(~search.fooled) if restart else search
            self.ascend(part, self.loss)

    def ascend(self, search: Search, loss: Loss) -> None:
        """One ascent from a random start; does nothing where no image takes part."""
        start = search.random_start()
        if not len(search):
            return
        norm = search.threat.norm
        schedule = {b: b - a for a, b in pairwise(checkpoints(self.steps))}
        points, losses, gradient = search.gradient(start, loss)
        step = torch.full_like(losses, 2 * search.threat.eps)[:, None]
        best, best_losses, best_gradient = points, losses, gradient
        before, raised = points, torch.zeros_like(losses)
        at_checkpoint, halved = losses, torch.zeros_like(losses, dtype=torch.bool)
        for k in range(1, self.steps + 1):
            ahead = search.project(points + step * ascent_direction(gradient, norm))
            if k > 1:
                ahead = points + _MOMENTUM * (ahead - points) + (1 - _MOMENTUM) * (points - before)
            if k == self.steps:
                search.visit(ahead)
                return
            before, last_losses = points, losses
            points, losses, gradient = search.gradient(ahead, loss)
            raised += losses > last_losses
            gained = losses > best_losses
            best = _where(gained, points, best)
            best_gradient = _where(gained, gradient, best_gradient)
            best_losses = torch.where(gained, losses, best_losses)
            if k in schedule:
                stalled = ~halved & (best_losses <= at_checkpoint)
                halved = (raised < self.rho * schedule[k]) | stalled
                step = _where(halved, step / 2, step)
                points = _where(halved, best, points)
                gradient = _where(halved, best_gradient, gradient)
                losses = torch.where(halved, best_losses, losses)
                at_checkpoint, raised = best_losses, torch.zeros_like(raised)


class APGDTargeted(APGD):
    """Auto-PGD on the targeted DLR loss, one class after the other (apgd-t of AutoAttack).

    Args:
        targets: How many classes to try, best clean score first; all but the label when absent.
        steps, restarts, rho: See `APGD`, for each target. Only images still standing go on.
    """

    def __init__(
        self, *, targets: int | None = None, steps: int = 100, restarts: int = 1, rho: float = 0.75
    ) -> None:
        super().__init__(steps=steps, restarts=restarts, rho=rho)
        at_least("targets", USUAL_TARGETS if targets is None else targets, 1)
        self.targets, self.rank = targets, margin

    @property
    def passes(self) -> tuple[int, int]:
        """As of `APGD`, at most, for four classes when `targets` is absent."""
        forward, gradient = super().passes
        targets = USUAL_TARGETS if self.targets is None else self.targets
        return 1 + targets * forward, targets * gradient

    def run(self, search: Search) -> None:
        """Ascend towards every target from every random start."""
        targets = others(search.scores(search.x), search.y)
        for target in targets[:, : self.targets].unbind(1):
            for _ in range(self.restarts):
                standing = ~search.fooled
                self.ascend(search.only(standing), _towards(target[standing]))


def _towards(target: Tensor) -> Loss:
    return lambda scores, y: targeted_dlr(scores, y, target)


def _where(chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(chosen[:, None], yes, no)
