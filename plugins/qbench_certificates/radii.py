"""The search for the radius of each image, by a certifier that answers one radius at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

PRECISION = 0.02  # by how much a radius not proved may exceed the largest one proved, relatively
LEAST = 1 / 16  # of the smallest budget: smaller radii are reported as 0
_STEP = math.log1p(PRECISION)
_GUESSES = 5  # questions about an item that may follow a guess

Proves = Callable[[Tensor, Tensor], Tensor]


def largest_radii(
    proves: Proves,
    low: Tensor,
    high: Tensor,
    eps: tuple[float, ...],
    guess: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The largest radius found to be proved for each item, (n,) float64; 0 where there is none.

    The budgets come first, and are asked exactly: each item is bisected among them. Then the
    interval between what is proved and what is not is bisected on a logarithmic scale, until its
    ends are within `PRECISION`. Nothing above the largest budget is asked; what is proved at no
    budget is sought down to `LEAST` times the smallest.

    Args:
        proves: From items (m,) and their radii (m,), float64, to whether each is proved, (m,). A
            call asks about each item once at most. Any answer must be right; where one radius is
            proved and a smaller one is not, the search may stop short, which costs tightness only.
        low: Radii that are known to be proved, (n,) float64; 0 where none is.
        high: What the radii must be smaller than, (n,) float64: ∞ where nothing is known, 0 for an
            item about which nothing is to be asked.
        eps: The budgets, ascending.
        guess: From items (m,) to where the search is thought to end, (m,); asked before each
            question. The first few questions follow it, and a search ends where the guess exceeds
            what is proved by no more than `PRECISION`, unless a budget is that near. It saves
            questions, and cannot make a radius wrong.
    """
    rungs = torch.tensor((LEAST * eps[0], *eps), dtype=torch.float64)
    low, high, items = low.clone(), high.clone(), torch.arange(len(low))
    for question in count():
        here = low[items], high[items]
        radius = _next_radius(*here, rungs)
        if guess is not None and question < _GUESSES:
            radius = _near(guess(items), *here, rungs, radius)
        items, radius = items[radius.isfinite()], radius[radius.isfinite()]
        if not len(items):
            break
        proved = proves(items, radius)
        low[items] = torch.where(proved, radius, low[items])
        high[items] = torch.where(proved, high[items], radius)
    return low


def _next_radius(low: Tensor, high: Tensor, rungs: Tensor) -> Tensor:
    """What to ask of items proved at `low` and not at `high`, (n,); ∞ where a search has ended."""
    between = (rungs > low[:, None]) & (rungs < high[:, None])
    first, several = (rungs <= low[:, None]).sum(1), between.sum(1)
    rung = rungs[(first + several // 2).clamp(max=len(rungs) - 1)]
    # The interval is cut into parts of `PRECISION`, and these are bisected.
    parts = ((high / low).log() / _STEP - 1e-6).ceil()
    wide = (low > 0) & (low < rungs[-1]) & (parts > 1)
    inside = torch.where(wide, low * (high / low) ** ((parts / 2).floor() / parts), torch.inf)
    return torch.where(several > 0, rung, inside)


def _near(guess: Tensor, low: Tensor, high: Tensor, rungs: Tensor, radius: Tensor) -> Tensor:
    """What to ask instead of `radius` (n,) where there is a guess: a little below, then above."""
    step = math.exp(0.45 * _STEP)
    below = (guess / step).clamp(rungs[0], rungs[-1])
    above = (guess * step).clamp(rungs[0], rungs[-1])
    near = torch.where(below > low, below, above)
    follow = radius.isfinite() & (high > (1 + PRECISION) * low) & (near > low) & (near < high)
    radius = torch.where(follow, near, radius)
    # Where the guess is as good as proved, what remains is a budget that it might be wrong about.
    there = (low > 0) & (guess <= (1 + PRECISION) * low)
    budget = (rungs > low[:, None]) & (rungs < high[:, None])
    budget &= rungs <= (1 + 2 * PRECISION) * low[:, None]
    rung = torch.where(budget, rungs, torch.inf).amin(1)
    return torch.where(there, rung, radius)
