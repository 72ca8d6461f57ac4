"""Gradients of scores by the images where a classifier gives none: estimated from scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Estimate = Literal["finite-differences", "spsa"]
ESTIMATES: tuple[Estimate, ...] = ("finite-differences", "spsa")
STEP = 0.01  # how far the points of a difference are from the image, in pixel units of [0, 1]
NOISY_STEP = 0.1  # the same where scores vary from pass to pass
SPSA_PAIRS = 64  # random directions of one estimate
Scores = Callable[[Tensor], Tensor]


def with_estimated_gradient(scores: Scores, x: Tensor, estimate: Estimate, step: float) -> Tensor:
    """Scores (n, classes) of images x (n, features), with an estimated gradient by the images.

    The gradient by parameters stays the classifier's own.

    Args:
        scores: The classifier; asked about 2 · features more images for each one that is
            differentiated by central finite differences, and about 2 · SPSA_PAIRS by SPSA.
        x: The images.
        estimate: How.
        step: Distance of the points that are compared from the image.
    """
    plain = scores(x.detach())
    about = (x, plain.detach(), scores, estimate, step)
    nothing: Tensor = _Estimated.apply(*about)  # type: ignore[no-untyped-call]
    return plain + nothing


class _Estimated(torch.autograd.Function):
    """Zeros shaped like the scores, whose gradient by the images is that of the scores."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, plain: Tensor, scores: Scores, estimate: Estimate, step: float
    ) -> Tensor:
        ctx.x, ctx.scores, ctx.step = x.detach(), scores, step
        ctx.directions = _axes if estimate == "finite-differences" else _random_signs
        return torch.zeros_like(plain)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        with torch.no_grad():
            rows = [
                _gradient(ctx.scores, image, weights, ctx.directions(image), ctx.step)
                for image, weights in zip(ctx.x, upstream, strict=True)
            ]
        return torch.stack(rows).to(ctx.x.dtype), None, None, None, None


def _gradient(
    scores: Scores, image: Tensor, weights: Tensor, directions: Tensor, step: float
) -> Tensor:
    """The gradient (features,) of weights · scores from its slopes along directions (m, features).

    The sum of slope times direction over the axes, or its mean over random signs, of which the
    gradient is the expectation (Spall 1992).
    """
    points = torch.cat([image + step * directions, image - step * directions])
    ahead, behind = (scores(points).double() @ weights.double()).chunk(2)
    slopes = (ahead - behind) / (2 * step)
    # Σ d dᵀ is the identity for axes and, in expectation, their number times it for signs.
    return slopes @ directions.double() / (directions.square().sum() / len(image))


def _axes(image: Tensor) -> Tensor:
    return torch.eye(len(image), dtype=image.dtype, device=image.device)


def _random_signs(image: Tensor) -> Tensor:
    """Seeded by the image, so that its gradient depends neither on order nor on its batch."""
    digest = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    signs = torch.randint(0, 2, (SPSA_PAIRS, len(image)), generator=generator) * 2 - 1
    return signs.to(image)
