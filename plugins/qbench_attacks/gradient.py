"""Gradient attacks of fixed step: PGD, its one-step cases, and its momentum variant."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.geometry import ascent_direction
from qbench_attacks.base import Keep, Search, SearchAttack, at_least
from qbench_attacks.losses import named


class PGD(SearchAttack):
    """Projected gradient descent (Madry et al. 2018).

    Args:
        steps: Gradient steps a start.
        relative_step: Length of all steps together in units of ε; a step is relative_step·ε/steps.
        step: Length of one step in pixel units, instead of `relative_step`.
        decay: Factor on the step length from one step to the next; 1 keeps it constant.
        loss: `"ce"`, `"margin"` or `"dlr"` (see `losses`).
        random_start: Start from a uniform point of the ball instead of from the image.
        restarts: How many starts; every one draws a fresh point.
        keep: `"best"` or `"last"`, see `Search`.
    """

    def __init__(
        self,
        *,
        steps: int = 40,
        relative_step: float = 2.5,
        step: float | None = None,
        decay: float = 1.0,
        loss: str = "ce",
        random_start: bool = True,
        restarts: int = 1,
        keep: Keep = "best",
    ) -> None:
        at_least("steps", steps, 1)
        at_least("restarts", restarts, 1)
        if keep not in ("best", "last"):
            raise ValueError(f"keep must be 'best' or 'last', got {keep!r}")
        self.steps, self.relative_step, self.step, self.decay = steps, relative_step, step, decay
        self.random_start, self.restarts, self.keep = random_start, restarts, keep
        self.rank = self.loss = named(loss)

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated."""
        return self.restarts * (self.steps + 1), self.restarts * self.steps

    def run(self, search: Search) -> None:
        """Ascend the loss from every start; the last point is tried without a gradient."""
        for _ in range(self.restarts):
            points = search.random_start() if self.random_start else search.x
            length = self.step or self.relative_step * search.threat.eps / self.steps
            velocity = None
            for _ in range(self.steps):
                points, _, gradient = search.gradient(points, self.loss)
                velocity = self.velocity(velocity, gradient)
                points = points + length * ascent_direction(velocity, search.threat.norm)
                length *= self.decay
            search.visit(points)

    def velocity(self, before: Tensor | None, gradient: Tensor) -> Tensor:
        """What the next step follows: the gradient alone."""
        return gradient


class FGSM(PGD):
    """Fast gradient (sign) method (Goodfellow et al. 2015): one step of length ε."""

    def __init__(self, *, random_start: bool = False) -> None:
        super().__init__(steps=1, relative_step=1.0, random_start=random_start, keep="last")


class MaskFGSM(PGD):
    """FGSM on few pixels (Zhang et al. 2025, arXiv:2505.16714): one step of length ε.

    The mask of each image keeps the pixels of largest gradient magnitude; no other pixel changes.
    In ℓ2 the whole length ε goes into them. A pixel counts towards the budget also where it is at
    the edge of the box and its step is clipped.

    Args:
        pixels: How many pixels may change; from the number of features on it is FGSM.
    """

    def __init__(self, *, pixels: int = 25) -> None:
        at_least("pixels", pixels, 1)
        super().__init__(steps=1, relative_step=1.0, random_start=False, keep="last")
        self.pixels = pixels

    def velocity(self, before: Tensor | None, gradient: Tensor) -> Tensor:
        """The gradient with all but its largest entries set to zero."""
        largest = gradient.abs().topk(min(self.pixels, gradient.shape[1]), dim=1).indices
        return torch.zeros_like(gradient).scatter(1, largest, gradient.gather(1, largest))


class MIFGSM(PGD):
    """Momentum iterative FGSM (Dong et al. 2018, Eqs. 6 and 7), steps of ε/steps from the image.

    Args:
        momentum: μ, the weight of the gradients before; each enters divided by its ℓ1 norm.
        steps, relative_step, loss, random_start, restarts, keep: See `PGD`.
    """

    def __init__(
        self,
        *,
        steps: int = 20,
        relative_step: float = 1.0,
        momentum: float = 1.0,
        loss: str = "ce",
        random_start: bool = False,
        restarts: int = 1,
        keep: Keep = "best",
    ) -> None:
        super().__init__(
            steps=steps,
            relative_step=relative_step,
            loss=loss,
            random_start=random_start,
            restarts=restarts,
            keep=keep,
        )
        self.momentum = momentum

    def velocity(self, before: Tensor | None, gradient: Tensor) -> Tensor:
        """The normalised gradients so far, added up with weights μ^age."""
        length = gradient.abs().sum(1, keepdim=True)
        unit = gradient / length.where(length > 0, length.new_ones(()))
        return unit if before is None else self.momentum * before + unit
