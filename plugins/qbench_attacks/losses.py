"""Losses that attacks ascend, one number an image: the larger, the further from the label.

Each takes scores (n, classes) and labels (n,) and returns (n,). To reach a class instead of leaving
it, an attack ascends the negative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as _cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """−log softmax(scores) of the label."""
    return _cross_entropy(scores, y, reduction="none")


def rescaled_cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """`cross_entropy` of scores divided by their own standard deviation over the classes.

    Cross-entropy of large scores vanishes in floating point, and that of small ones weighs all
    classes alike; no positive scale of the scores changes this one. The divisor counts as constant
    in the gradient. Yu and Xu 2023 (MIFPE) rescale in the same way, by the gap of the two largest.
    """
    centred = scores - scores.mean(1, keepdim=True)
    scale = scores.detach().std(1, correction=0, keepdim=True)
    return cross_entropy(centred / _positive(scale), y)


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """Best other score minus the label's: positive exactly where misclassified.

    Carlini and Wagner 2017, f_6 with logits, without its floor.
    """
    others = scores.scatter(1, y[:, None], -torch.inf)
    return others.amax(1) - _of(scores, y)


def dlr(scores: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, Eq. 6): `margin` / (z_(1) − z_(3)).

    z_(1) ≥ z_(2) ≥ ... are the sorted scores, so neither a shift nor a positive scale of the scores
    changes it. Two classes have no z_(3), and with z_(2) in its place the ratio would be ±1 with
    no gradient: there it is the plain `margin`, whose ascent direction no scale changes either.
    """
    if scores.shape[1] < 3:
        return margin(scores, y)
    top = scores.topk(3, dim=1).values
    return margin(scores, y) / _positive(top[:, 0] - top[:, 2])


def targeted_dlr(scores: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR (Croce and Hein 2020, Eq. 7): (z_t − z_y) / (z_(1) − (z_(3) + z_(4)) / 2).

    Three classes have no z_(4): the mean of the two lowest is then (z_(2) + z_(3)) / 2. (z_(3)
    alone would make the ratio −1 with no gradient whenever the target scores lowest.) With two
    classes it is z_t − z_y, as in `dlr`.

    Args:
        scores: (n, classes).
        y: Labels to leave (n,).
        target: Classes to reach (n,), different from y.
    """
    gap = _of(scores, target) - _of(scores, y)
    if scores.shape[1] < 3:
        return gap
    top = scores.topk(min(4, scores.shape[1]), dim=1).values
    return gap / _positive(top[:, 0] - top[:, -2:].mean(1))


def spread(scores: Tensor) -> Tensor:
    """The largest minus the smallest score, (n,), and above zero."""
    return _positive(scores.amax(1) - scores.amin(1))


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "rescaled-ce": rescaled_cross_entropy,
    "margin": margin,
    "dlr": dlr,
}


def named(name: str) -> Loss:
    """The loss called `"ce"`, `"rescaled-ce"`, `"margin"` or `"dlr"`.

    Raises:
        ValueError: There is no such loss.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]


def _of(scores: Tensor, y: Tensor) -> Tensor:
    return scores.gather(1, y[:, None])[:, 0]


def _positive(spread: Tensor) -> Tensor:
    """No division by zero where the scores tie; the numerator is then zero as well."""
    return spread.clamp_min(torch.finfo(spread.dtype).tiny)
