"""What the radii of sine and convolutional networks are challenged with: a search in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.geometry import project, random_start
from qbench.specs import Perturbations, ThreatModel


def least_margin(
    model: nn.Module, x: Tensor, y: Tensor, perturbations: Perturbations, radius: Tensor, seed: int
) -> Tensor:
    """The least margin found within each image's radius (n,): corners, random points, descent."""
    generator = torch.Generator().manual_seed(seed)
    best = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for i, eps in enumerate(radius.tolist()):
        if eps <= 0:
            continue
        norm, box = perturbations.norm, perturbations.box
        threat = ThreatModel(norm=norm, eps=eps, box=box)
        # A ball whose centre is outside the box is no concern here.
        centres = x[i].expand(48, -1)
        far = centres + 10 * torch.randn(16, x.shape[1], generator=generator, dtype=x.dtype).repeat(
            3, 1
        )
        points = torch.cat(
            [random_start(centres, threat, generator), project(far, centres, threat)]
        )
        centres = x[i].expand(len(points), -1)
        others = [c for c in range(_scores(model, x[:1]).shape[1]) if c != int(y[i])]
        target = torch.tensor(others).repeat(len(points))[: len(points)]
        for step in range(40):
            points = points.detach().requires_grad_()
            scores = model(points)
            margin = scores[:, int(y[i])] - scores.gather(1, target[:, None])[:, 0]
            rest = torch.cat([scores[:, : int(y[i])], scores[:, int(y[i]) + 1 :]], 1)
            best[i] = min(
                float(best[i]), float((scores[:, int(y[i])] - rest.amax(1)).detach().min())
            )
            (gradient,) = torch.autograd.grad(margin.sum(), points)
            size = 0.5 * eps * (1 - step / 40)
            if norm == "linf":
                move = size * gradient.sign()
            else:
                move = size * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
            points = project(points.detach() - move, centres, threat)
    return best


def _scores(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model(x)
    return scores
