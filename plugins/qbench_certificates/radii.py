"""What certificates of single images share: the slack for rounding, and the search for a radius."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Scores are computed in float32. A margin counts as proved when it exceeds what rounding can take
# from it: this much of the largest score, or this much where scores are small.
_ROUNDING = 1e-5
_STEPS = 30  # halvings: a radius is found to a billionth of its limit


def slack(scores: Tensor) -> Tensor:
    """What a proved margin must exceed, (n,), for scores (n, classes) computed in float32."""
    return _ROUNDING * scores.abs().amax(1).clamp(min=1.0).double()


def largest_radius(
    proves: Callable[[Tensor], Tensor], limit: Tensor, steps: int = _STEPS
) -> Tensor:
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
