"""Fast adaptive boundary attack: a minimum-norm attack (Croce and Hein 2020, FAB)."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench_attacks.base import USUAL_TARGETS, Search, at_least
from qbench_attacks.minimum import MinimumNormAttack, Nearest, norms, step_to_plane


class FAB(MinimumNormAttack):
    """FAB, one target class after the other, as AutoAttack runs it (fab-t).

    Each step linearises z_y − z_t, goes a little beyond the plane where that is zero, and leans
    towards the plane's point nearest to the image; from an adversarial point it steps back towards
    the image. Both planes' points respect the box.

    Args:
        steps: Steps a start; each needs one gradient and one more forward pass.
        restarts: Starts for each target, the first from the image.
        targets: How many classes to try, best clean score first; all but the label when absent.
        overshoot: η, how far beyond the plane a step goes.
        backward: β, the share of the perturbation that a backward step leaves.
        lean: α_max, the largest weight of the plane's point nearest to the image.
        halvings: Bisections of the segment from the image to the nearest point, at the end.
    """

    def __init__(
        self,
        *,
        steps: int = 50,
        restarts: int = 1,
        targets: int | None = None,
        overshoot: float = 1.05,
        backward: float = 0.9,
        lean: float = 0.1,
        halvings: int = 10,
    ) -> None:
        at_least("steps", steps, 1)
        at_least("restarts", restarts, 1)
        at_least("targets", USUAL_TARGETS if targets is None else targets, 1)
        self.steps, self.restarts, self.targets = steps, restarts, targets
        self.overshoot, self.backward, self.lean = overshoot, backward, lean
        self.halvings = halvings

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated."""
        targets = USUAL_TARGETS if self.targets is None else self.targets
        gradients = targets * self.restarts * self.steps
        return 2 + 2 * gradients + self.halvings, gradients

    def minimise(self, nearest: Nearest) -> None:
        """Approach the boundary to every target from every start."""
        search = nearest.search
        for target in nearest.targets[:, : self.targets].unbind(1):
            for restart in range(self.restarts):
                start = search.x if restart == 0 else self._restart(nearest)
                self._approach(nearest, target, start)
        nearest.refine(self.halvings)

    def _restart(self, nearest: Nearest) -> Tensor:
        """A random point half as far away as the nearest so far, or half of ε."""
        search = nearest.search
        radius = nearest.length.clamp_max(search.threat.eps)[:, None].to(search.x.dtype) / 2
        if search.threat.norm == "linf":
            noise = 2 * search.uniform(search.x.shape[1]) - 1
        else:
            noise = search.normal(search.x.shape[1])
        scale = norms(noise, search.threat.norm)[:, None]
        return search.clip(search.x + radius * noise / scale)

    def _approach(self, nearest: Nearest, target: Tensor, points: Tensor) -> None:
        search = nearest.search
        x, threat = search.x, search.threat
        for _ in range(self.steps):
            gap, normal = class_gap(search, points, target)
            onward = step_to_plane(points, normal, gap, threat)
            direct = step_to_plane(x, normal, gap + (normal * (x - points)).sum(1), threat)
            far = norms(onward, threat.norm)
            total = (far + norms(direct, threat.norm)).clamp_min(torch.finfo(x.dtype).tiny)
            lean = (far / total).clamp_max(self.lean)[:, None]
            ahead = (1 - lean) * (points + self.overshoot * onward)
            points = search.clip(ahead + lean * (x + self.overshoot * direct))
            adversarial = nearest.attempt(points)[:, None]
            points = torch.where(adversarial, x + self.backward * (points - x), points)


def class_gap(search: Search, points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """z_y − z_t at the points, (n,), and its gradient."""

    def value(seen: Tensor) -> Tensor:
        return (seen.gather(1, search.y[:, None]) - seen.gather(1, target[:, None]))[:, 0]

    _, _, gap, gradient = search.differentiate(points, value)
    return gap, gradient
