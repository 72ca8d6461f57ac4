"""A universal perturbation: one δ that fools the model on as many images as it can."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from qbench.geometry import ascent_direction, project
from qbench_attacks.base import USUAL_TARGETS, Search, SearchAttack, at_least
from qbench_attacks.losses import Loss, cross_entropy, margin

_REFINED_ON = 2  # losses: see `Universal.run`
_FIRST_STEP = 0.3  # of ε; steps shrink to nothing along a cosine


class Universal(SearchAttack):
    """One perturbation δ for all images (Moosavi-Dezfooli et al. 2017), by gradient ascent.

    δ lies in the ε-ball; the point of an image x is x + δ, clipped to the box. δ is fitted on the
    very images that are attacked, all of them at once: the worst case for one δ within the threat
    model, as far as the ascents find it, and not how well a δ carries over to other images. Every
    image moves by it, also those that it does not fool; where it fools none, δ is zero.

    As in Shafahi et al. 2020 δ follows the gradient of a loss summed over images, here over all of
    them in every step; in the margin, images that are fooled drop out of the sum. One ascent
    seldom finds the best δ: universal perturbations drive most images into the same few classes
    (Moosavi-Dezfooli et al. 2017). So there is one ascent towards each class, and two go on from
    the δ that fooled most images so far, on cross-entropy and on the margin. Images that are
    misclassified as they are take no part. No random number is drawn.

    Args:
        steps: Gradient steps of every ascent.
    """

    keep = "last"  # the points of the one δ, and not the best of each image
    inner = True

    def __init__(self, *, steps: int = 50) -> None:
        at_least("steps", steps, 1)
        self.steps = steps

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated: four classes."""
        ascents = USUAL_TARGETS + 1 + _REFINED_ON
        return ascents * (self.steps + 1) + 2, ascents * self.steps

    def run(self, search: Search) -> None:
        """Fit δ and visit the points that it gives."""
        if not len(search):
            return
        fit = _Fit(search)
        start = fit.best
        for target in range(fit.classes):
            fit.ascend(start, _towards(target), self.steps)
        for loss in (cross_entropy, _hinge):
            fit.ascend(fit.best, loss, self.steps)
        search.visit(search.x + fit.best)


class _Fit:
    """The δ (1, features) that fooled most images so far, and how many it did.

    Args:
        search: The images; those that are misclassified as they are do not count.
    """

    def __init__(self, search: Search) -> None:
        clean = search.scores(search.x)
        self.search, self.classes = search, clean.shape[1]
        self.standing = ~search.adversarial(clean)
        self.best, self.fooled = torch.zeros_like(search.x[:1]), 0

    def ascend(self, delta: Tensor, loss: Loss, steps: int) -> None:
        """Follow the gradient of the loss, summed over the images, from δ."""
        search, eps, norm = self.search, self.search.threat.eps, self.search.threat.norm
        ball, centre = replace(search.threat, box=None), torch.zeros_like(delta)
        for step in range(steps):
            points = search.x + delta
            scores, _, _, gradient = search.differentiate(
                search.project(points), lambda seen: loss(seen, search.y) * self.standing
            )
            self._note(delta, scores)
            # A pixel that is clipped does not follow δ.
            follows = points == search.clip(points)
            total = (gradient * follows).sum(0, keepdim=True)
            length = _FIRST_STEP * eps * math.cos(math.pi * step / (2 * steps))
            delta = project(delta + length * ascent_direction(total, norm), centre, ball)
        self._note(delta, search.scores(search.project(search.x + delta)))

    def _note(self, delta: Tensor, scores: Tensor) -> None:
        fooled = int((self.search.adversarial(scores) & self.standing).sum())
        if fooled > self.fooled:
            self.best, self.fooled = delta, fooled


def _towards(target: int) -> Loss:
    """The score of one class minus the label's."""
    return lambda scores, y: scores[:, target] - scores.gather(1, y[:, None])[:, 0]


def _hinge(scores: Tensor, y: Tensor) -> Tensor:
    """The margin up to zero, where the image is fooled; Shafahi et al. 2020 clip their loss so."""
    return margin(scores, y).clamp_max(0)
