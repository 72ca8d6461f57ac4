"""What certificates of single images share: the slack for rounding, and the search for a radius."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Scores are computed in float32. A margin counts as proved when it exceeds what rounding can take
# from it: this much of the largest score, or this much where scores are small.
_ROUNDING = 1e-5


def slack(scores: Tensor) -> Tensor:
    """What a proved margin must exceed, (n,), for scores (n, classes) computed in float32."""
    return _ROUNDING * scores.abs().amax(1).clamp(min=1.0).double()


def candidate_radii(eps: tuple[float, ...], between: int) -> Tensor:
    """A ladder of radii, ascending: 0, the budgets, and as many as asked before each of them.

    Args:
        eps: The budgets that are reported, ascending; they are rungs exactly.
        between: Rungs from one budget to the next, of which the last is that budget.
    """
    ladder = [0.0]
    for budget in eps:
        start = ladder[-1]
        ladder += [start + (budget - start) * step / between for step in range(1, between)]
        ladder.append(budget)
    return torch.tensor(ladder, dtype=torch.float64)


def largest_rung(
    proves: Callable[[Tensor, Tensor], Tensor], ladder: Tensor, images: Tensor
) -> Tensor:
    """The largest rung found to be proved for each image by bisection, (n,); 0 where none is.

    Args:
        proves: From images (m,) and their radii (m,) to whether each is proved, (m,). Any answer
            must be right; where one radius is proved and a smaller one is not, the search may
            stop short, which costs tightness only. It is asked about open images alone.
        ladder: Radii, ascending, the first of them 0.
        images: Which of the n images can have a radius, (n,) bool.
    """
    low = torch.zeros(len(images), dtype=torch.long)
    high = torch.where(images, len(ladder), 1)
    while len(found := (high - low > 1).nonzero()[:, 0]):
        middle = (low[found] + high[found]) // 2
        proved = proves(found, ladder[middle])
        low[found] = torch.where(proved, middle, low[found])
        high[found] = torch.where(proved, high[found], middle)
    return ladder[low]


def largest_radius(proves: Callable[[Tensor], Tensor], limit: Tensor, steps: int) -> Tensor:
    """The largest radius, up to `limit` (n,), found to be proved by bisection; 0 where none is.

    Args:
        proves: From radii (n,) to whether each image is proved at its radius, (n,). Any answer
            must be right; where one radius is proved and a smaller one is not, the search may
            stop short, which costs tightness only.
        limit: Largest radius of interest, float64.
        steps: Halvings of the interval.
    """
    low, high = torch.zeros_like(limit), limit.clone()
    low = torch.where(proves(high), high, low)
    for _ in range(steps):
        middle = (low + high) / 2
        proved = proves(middle)
        low, high = torch.where(proved, middle, low), torch.where(proved, high, middle)
    return low
