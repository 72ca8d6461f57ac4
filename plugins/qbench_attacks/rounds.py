"""Rounds of restarts with changing losses, on the images where they may still gain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qbench.geometry import ascent_direction
from qbench_attacks.apgd import APGD
from qbench_attacks.base import Search, SearchAttack, at_least, others
from qbench_attacks.losses import (
    Loss,
    dlr,
    margin,
    rescaled_cross_entropy,
    spread,
    targeted_dlr,
)

# Losses of the first round, the third and so on, and of the others.
_UNTARGETED: tuple[tuple[Loss, Loss], ...] = (
    (rescaled_cross_entropy, dlr),
    (rescaled_cross_entropy, margin),
)
_GAIN = 0.01  # of the clean margin: what counts as coming closer


class Rounds(SearchAttack):
    """Auto-PGD and PGD in turn from random starts, on several losses at once, round after round.

    A round ascends from one start a loss: rescaled cross-entropy, DLR and the margin in turn, and
    targeted DLR towards the `targets` best other classes. An image leaves when it is broken, or
    after `patience` rounds in a row that brought it no closer. Which loss finds the way out depends
    on the image, and so do the restarts it takes (Tramèr et al. 2020; Carlini et al. 2019, Sec. 4).

    Images stay out that the search before left far from the boundary: those that keep more than
    `near` of their clean margin, both in units of the scores and in units of their spread.

    Args:
        steps: Steps of every ascent.
        patience: Rounds without a gain after which an image is left alone.
        rounds: Rounds at most.
        targets: Classes that targeted DLR tries, best clean score first.
        near: Share of the clean margin; 1 takes every image.
    """

    inner = True

    def __init__(
        self,
        *,
        steps: int = 100,
        patience: int = 3,
        rounds: int = 10,
        targets: int = 2,
        near: float = 0.25,
    ) -> None:
        at_least("steps", steps, 1)
        at_least("patience", patience, 1)
        at_least("rounds", rounds, 0)
        at_least("targets", targets, 0)
        at_least("near", near, 0)
        self.patience, self.rounds, self.targets, self.near = patience, rounds, targets, near
        self.ascent, self.rank = APGD(steps=steps), margin

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated, at most."""
        forward, gradient = self.ascent.passes
        starts = self.rounds * (len(_UNTARGETED[0]) + self.targets)
        return 1 + starts * forward, starts * gradient

    def run(self, search: Search) -> None:
        """One round after the other."""
        if not len(search):
            return
        seen = search.visit(search.x)
        classes = others(seen, search.y)[:, : self.targets]
        clean = clean_margins(search, seen)
        left = share_left(search, clean)
        idle = torch.zeros(len(search), dtype=torch.long, device=search.x.device)
        idle[(left > self.near) | search.fooled] = self.patience
        for number in range(self.rounds):
            at = (idle < self.patience).nonzero()[:, 0]
            if not len(at):
                break
            part = search.only(at)
            free = _UNTARGETED[number % len(_UNTARGETED)]
            copies = len(free) + classes.shape[1]
            climb = self.ascent.ascend if number % 2 else self._climb
            climb(part.repeat(copies), _each(free, classes[at]))
            now = share_left(part, tuple(one[at] for one in clean))
            gained = now < left[at] - _GAIN
            idle[at] = torch.where(gained, 0, idle[at] + 1)
            idle[at[part.fooled]] = self.patience
            left[at] = torch.minimum(now, left[at])

    def _climb(self, search: Search, loss: Loss) -> None:
        """Signed or normalised steps from a random start, shrinking from ε/2 along a cosine.

        Auto-PGD's first step of 2ε leaves little of the start: all of its restarts look alike on
        some images.
        """
        points, steps = search.random_start(), self.ascent.steps
        for step in range(steps):
            points, _, gradient = search.gradient(points, loss)
            length = 0.5 * search.threat.eps * math.cos(math.pi * step / (2 * steps))
            points = points + length * ascent_direction(gradient, search.threat.norm)
        search.visit(points)


def clean_margins(search: Search, seen: Tensor) -> tuple[Tensor, ...]:
    """The margins of clean images, from what losses look at there, as `Search.margins`."""
    gap = search.objective(seen, margin)
    return gap, gap / spread(seen)


def share_left(search: Search, clean: tuple[Tensor, ...]) -> Tensor:
    """How much of the clean margin the best point leaves, (n,): the smaller of both shares.

    0 or below where the margin is gone, and where the clean image has none.
    """
    shares = [
        torch.where(at_first < 0, best / at_first, 0.0)
        for best, at_first in zip(search.margins, clean, strict=True)
    ]
    left: Tensor = torch.minimum(*shares).nan_to_num(nan=0.0)
    return left


def _each(free: Sequence[Loss], targets: Tensor) -> Loss:
    """The loss of a round: one part of the copies for each untargeted loss and each target."""

    def losses(scores: Tensor, y: Tensor) -> Tensor:
        n = len(targets)
        blocks, labels = torch.split(scores, n), y[:n]
        aimed = zip(blocks[len(free) :], targets.unbind(1), strict=True)
        return torch.cat(
            [loss(block, labels) for loss, block in zip(free, blocks, strict=False)]
            + [targeted_dlr(block, labels, target) for block, target in aimed]
        )

    return losses
