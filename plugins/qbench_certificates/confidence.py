"""Limits on probabilities after so many trials (Clopper and Pearson 1934)."""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor


def lower_limit(hits: Tensor, n: int, failure: float) -> Tensor:
    """One-sided Clopper-Pearson limit on a probability after `hits` (images,) of n trials."""
    limit = betaincinv(hits.clamp(min=1).numpy(), (n - hits + 1).numpy(), failure)
    return torch.where(hits > 0, torch.as_tensor(limit), torch.zeros_like(hits))


def upper_limit(hits: Tensor, n: int, failure: float) -> Tensor:
    """The same from above: what did not happen has its own limit from below."""
    return 1 - lower_limit(n - hits, n, failure)
