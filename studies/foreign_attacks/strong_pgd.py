"""Projected gradient descent with many restarts and several losses, written apart from qbench's.

It shares no code with the attacks that it is held against.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]


def ce(scores: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, (n,)."""
    return cross_entropy(scores, y, reduction="none")


def scaled_ce(scores: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of scores whose two largest are one apart (Yu and Xu 2023), (n,)."""
    top = scores.detach().topk(2, dim=1).values
    return ce(scores / (top[:, :1] - top[:, 1:]).clamp_min(1e-12), y)


def cw(scores: Tensor, y: Tensor) -> Tensor:
    """Best other score minus the label's (Carlini and Wagner 2017), (n,)."""
    own = torch.zeros_like(scores).scatter(1, y[:, None], torch.inf)
    return (scores - own).amax(1) - scores.gather(1, y[:, None])[:, 0]


def ratio(scores: Tensor, y: Tensor) -> Tensor:
    """`cw` over the gap between the largest and the third largest score, (n,)."""
    top = scores.topk(min(3, scores.shape[1]), dim=1).values
    return cw(scores, y) / (top[:, 0] - top[:, -1]).clamp_min(1e-12)


def random_class(scores: Tensor, y: Tensor) -> Tensor:
    """The score of the class after the label minus the label's, (n,)."""
    towards = (y + 1) % scores.shape[1]
    pairs = scores.gather(1, torch.stack([towards, y], 1))
    return pairs[:, 0] - pairs[:, 1]


LOSSES: tuple[Loss, ...] = (ce, scaled_ce, cw, ratio, random_class)


def strong_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    steps: int = 200,
    restarts: int = 20,
    generator: torch.Generator,
) -> Tensor:
    """The last point that fooled the model, or x, of each image, (n, features), in [0, 1].

    Every restart starts from a random point of the ℓ∞ ball. It takes signed steps whose length
    falls along a quarter of a cosine from ε/2 to zero. The restarts of an image run side by side.

    Args:
        model: The model under attack.
        x: Images (n, features).
        y: Labels (n,).
        eps: Budget ε in pixel units.
        steps: Steps of every restart.
        restarts: Restarts for each of `LOSSES`.
        generator: Source of the starts.
    """
    found = x.clone()
    standing = torch.arange(len(x))
    for loss in LOSSES:
        if not len(standing):
            break
        image = standing.repeat(restarts)
        centre, label = x[image], y[image]
        low, high = (centre - eps).clamp_min(0), (centre + eps).clamp_max(1)
        points = low + (high - low) * torch.rand(centre.shape, generator=generator)
        for step in range(steps):
            points.requires_grad_()
            scores = model(points)
            (gradient,) = torch.autograd.grad(loss(scores, label).sum(), points)
            fooled = scores.argmax(1) != label
            found[image[fooled]] = points.detach()[fooled]
            length = 0.5 * eps * float(torch.cos(torch.tensor(step / steps * torch.pi / 2)))
            ahead = points.detach() + length * gradient.nan_to_num(0, 0, 0).sign()
            points = torch.minimum(torch.maximum(ahead, low), high)
            if bool(fooled.any()):
                broken = torch.isin(image, image[fooled])
                image, centre, label = image[~broken], centre[~broken], label[~broken]
                points, low, high = points[~broken], low[~broken], high[~broken]
            if not len(image):
                break
        standing = image.unique()
    return found
