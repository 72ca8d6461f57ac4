"""Gradient attacks: PGD and its one-step case."""

from __future__ import annotations

from torch import Tensor

from qbench.geometry import ascent_direction
from qbench_attacks.base import Keep, Search, SearchAttack


class PGD(SearchAttack):
    """Projected gradient descent (Madry et al. 2018) on cross-entropy.

    Args:
        steps: Gradient steps a start.
        relative_step: Length of all steps together in units of ε; a step is relative_step·ε/steps.
        step: Length of one step in pixel units, instead of `relative_step`.
        decay: Factor on the step length from one step to the next; 1 keeps it constant.
        random_start, restarts, keep: See `SearchAttack`.
    """

    def __init__(
        self,
        *,
        steps: int = 40,
        relative_step: float = 2.5,
        step: float | None = None,
        decay: float = 1.0,
        random_start: bool = True,
        restarts: int = 1,
        keep: Keep = "best",
    ) -> None:
        super().__init__(random_start=random_start, restarts=restarts, keep=keep)
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.steps, self.relative_step, self.step, self.decay = steps, relative_step, step, decay

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated."""
        return self.restarts * (self.steps + 1), self.restarts * self.steps

    def search(self, search: Search, start: Tensor) -> None:
        """Ascend the loss; the last point is tried without a gradient."""
        threat, x_adv = search.threat, start
        length = self.step or self.relative_step * threat.eps / self.steps
        for _ in range(self.steps):
            x_adv, gradient = search.gradient(x_adv)
            x_adv = x_adv + length * ascent_direction(gradient, threat.norm)
            length *= self.decay
        search.visit(x_adv)


class FGSM(PGD):
    """Fast gradient (sign) method (Goodfellow et al. 2015): one step of length ε."""

    def __init__(self, *, random_start: bool = False) -> None:
        super().__init__(steps=1, relative_step=1.0, random_start=random_start, keep="last")
