"""Lipschitz bounds: a certifier's claim about a whole model, challenged at sampled points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.errors import DataError, Unsupported, UsageError, VerificationError
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, uncovered
from qbench.interfaces import LipschitzBound, LipschitzCertifier, Scope
from qbench.records.identity import LipschitzId
from qbench.records.record import LipschitzMetrics
from qbench.text import one_line

SAMPLES = 300  # random points challenged in addition to the images
SLACK = 1e-6  # relative; pays for the model's own rounding in float32
_LARGEST_NOISE = 0.2  # pixels; the largest budget of the protocols


@dataclass(frozen=True, kw_only=True)
class LipschitzTask(Task):
    """Bound how fast the scores can change. Needs the training."""

    identity: LipschitzId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Run the certifier and challenge it."""
        certifier = self.identity.certifier
        if certifier is None:
            raise uncovered(context, None)
        trained, provided = (
            context.trained(inputs),
            context.registry.get("certifier", certifier.name),
        )
        generator = torch.Generator().manual_seed(self.identity.random_seed)
        instance = provided.create(**certifier.params)
        model = context.ideal(trained)
        bound, sampled, points = certify(instance, model, context.split.x, generator)
        return Found(
            metrics=LipschitzMetrics(
                bound=bound.lipschitz,
                sampled_jacobian=sampled,
                points=points,
                scope=bound.scope,
                least_norm=bound.least_norm,
                detail=None if bound.detail is None else one_line(bound.detail),
                source=one_line(provided.spec.source),
                baseline=provided.spec.baseline,
            ),
            weights=trained.record.weights or "",
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """The Jacobian at every image and sampled point."""
        points = self.identity.data.images + SAMPLES
        return points, points * len(context.dataset.classes)


def certify(
    certifier: LipschitzCertifier, model: nn.Module, x: Tensor, generator: torch.Generator
) -> tuple[LipschitzBound, float, int]:
    """A bound, the largest Jacobian norm sampled around the images x (n, features), and at how
    many points.

    The Jacobian's norm at any input is a lower bound on the Lipschitz constant, so a valid bound
    is at least as large.

    Raises:
        Unsupported: The certifier does not cover the model, or it has no input gradient.
        VerificationError: A sampled norm exceeds the bound, or one of them is not a number.
        DataError: There are no images, or they are not (n, features).
    """
    bound = certifier(model, x.clone())
    points = sample_points(x, generator, SAMPLES)
    points = points[torch.linalg.vector_norm(points.double(), dim=1) >= bound.least_norm]
    sampled = largest_jacobian_norm(model, points, bound.scope)
    if not (math.isfinite(bound.lipschitz) and sampled <= bound.lipschitz * (1 + SLACK)):
        raise VerificationError(
            f"{type(certifier).__name__}: Jacobian norm {sampled:.9g} at a sampled input "
            f"contradicts the bound {bound.lipschitz:.9g}: it is wrong for this model"
        )
    return bound, sampled, len(points)


def largest_jacobian_norm(model: nn.Module, x: Tensor, scope: Scope, batch: int = 256) -> float:
    """The largest ℓ2 norm of the scores' Jacobian over inputs x (n, features).

    Evaluated in the precision and on the device of the model, which must act on each input alone:
    one backward pass a class covers a whole batch. NaN when a Jacobian is not finite.

    Args:
        model: From (n, features) to (n, classes).
        x: Inputs.
        scope: `"vector"` for the spectral norm, `"score"` for the largest norm of one class's row,
            `"margin"` for that of the difference of two rows.
        batch: Inputs differentiated at once.

    Raises:
        DataError: x is empty or not (n, features).
        Unsupported: The scores have no gradient with respect to the input.
        UsageError: There is no such scope.
    """
    if x.dim() != 2 or not len(x):
        raise DataError(f"inputs have shape {tuple(x.shape)}: expected (n, features) with n > 0")
    weights = next(iter(model.parameters()), x)
    norms = []
    for part in torch.split(x.detach().to(weights.device, weights.dtype), batch):
        jacobian = _jacobian(model, part).double()
        if not bool(jacobian.isfinite().all()):
            return math.nan
        if scope == "vector":
            norms.append(torch.linalg.matrix_norm(jacobian, ord=2).max())
        elif scope == "score":
            norms.append(torch.linalg.vector_norm(jacobian, dim=2).max())
        elif scope == "margin":
            norms.append(torch.cdist(jacobian, jacobian).max())
        else:
            raise UsageError(f"scope {scope!r} is not 'vector', 'score' or 'margin'")
    return float(torch.stack(norms).max())


def sample_points(x: Tensor, generator: torch.Generator, n: int) -> Tensor:
    """The images x (m, features), then n random points of the box [0, 1], as (m + n, features).

    A third is uniform noise, a third convex mixtures of two images, and the rest images with every
    pixel moved by up to 0.2 and clipped: bounds are challenged near the data and far from it.

    Raises:
        DataError: x is empty or not (m, features).
    """
    if x.dim() != 2 or not len(x):
        raise DataError(f"images have shape {tuple(x.shape)}: expected (m, features) with m > 0")
    features, third = x.shape[1], n // 3

    # Drawn in float64 on the generator's device: the points do not depend on the model's precision.
    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand(
            *shape, generator=generator, device=generator.device, dtype=torch.float64
        )
        return drawn.to(x.device)

    def images(count: int) -> Tensor:
        index = torch.randint(len(x), (count,), generator=generator, device=generator.device)
        return x.detach()[index.to(x.device)].double()

    noise = uniform(third, features)
    mixtures = torch.lerp(images(third), images(third), uniform(third, 1))
    rest = n - 2 * third
    strength = _LARGEST_NOISE * uniform(rest, 1)
    perturbed = images(rest) + strength * (2 * uniform(rest, features) - 1)
    drawn = torch.cat([noise, mixtures, perturbed]).clamp(0, 1)
    return torch.cat([x.detach(), drawn.to(x.dtype)])


def _jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """Jacobians of the scores, (n, classes, features)."""
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        scores = model(x)
        rows = []
        for total in scores.sum(0):
            gradient = None
            if total.requires_grad:
                (gradient,) = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
            if gradient is None:
                raise Unsupported(
                    f"{type(model).__name__}: scores have no gradient with respect to the input, "
                    "so no bound can be checked against its Jacobian"
                )
            rows.append(gradient)
    return torch.stack(rows, dim=1)
