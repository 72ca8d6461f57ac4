"""Random circuits, images for them, and a search for what breaks them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.evaluation.scoring import margins
from qbench.specs import Norm
from qbench_quantum.models import ReUpload, SplitReUpload


def random_model(
    seed: int, qubits: int, layers: int, repeats: int, scale: float
) -> ReUpload | SplitReUpload:
    """Random angles; repeats −2 for rotations that read two features each, on a line of qubits."""
    rotations = 3 * qubits * layers
    model: ReUpload | SplitReUpload
    if repeats == -2:
        model = SplitReUpload(qubits, layers, 2, features=2 * rotations // 3, reads=3)
    else:
        repeats = repeats or rotations  # one feature that all read: they add up
        model = ReUpload(qubits, layers, classes=2, features=rotations // repeats)
    model.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.w.copy_(scale * torch.randn(model.w.shape, generator=generator))
        model.theta.copy_(3 * torch.randn(model.theta.shape, generator=generator))
    return model


def images(model: ReUpload | SplitReUpload, seed: int, n: int = 6) -> tuple[Tensor, Tensor]:
    """Images with many pixels at the walls, and their predictions."""
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.rand(n, model.features, generator=generator, dtype=torch.float64)
    x = (3 * x - 1).clamp(0, 1)
    with torch.no_grad():
        return x, model(x).argmax(1)


def largest_fall(
    model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, norm: Norm, box: tuple[float, float] | None
) -> Tensor:
    """The smallest margin found within eps (n,) by random points, corners and gradient steps."""
    generator = torch.Generator().manual_seed(5)
    tries = 24
    x, y = x.repeat(tries, 1), y.repeat(tries)
    eps = eps.repeat(tries)[:, None]

    def inside(moved_to: Tensor) -> Tensor:
        delta = moved_to - x
        if norm == "linf":
            delta = torch.maximum(torch.minimum(delta, eps), -eps)
        else:
            length = torch.linalg.vector_norm(delta, dim=1, keepdim=True).clamp(min=1e-12)
            delta = delta * (eps / length).clamp(max=1)
        return x + delta if box is None else (x + delta).clamp(*box)

    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    point = inside(x + 3 * eps * noise)
    best = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for step in range(30):
        point = point.detach().requires_grad_()
        margin = margins(model(point), y)
        best = torch.minimum(best, margin.detach())
        (slope,) = torch.autograd.grad(margin.sum(), point)
        if norm == "linf":
            direction = slope.sign()
        else:
            direction = slope / torch.linalg.vector_norm(slope, dim=1, keepdim=True).clamp(min=1e-9)
        point = inside(point.detach() - 1.5 * eps * 0.85**step * direction)
    return best.view(tries, -1).amin(0)
