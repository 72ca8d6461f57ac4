"""Models for the certificates of amplitude encodings, and a search for what breaks them."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.datasets.base import load_data
from qbench.registry import load_registry
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo
from qbench_quantum.models import Amplitude


def zoo_model(name: str, seed: int) -> Amplitude:
    model: Amplitude = load_registry().get("model", name).create()
    load_into(model, unpack(Zoo().read(name, seed), name)[0].weights, name)
    return model


def glyphs() -> tuple[Tensor, Tensor]:
    test = load_data("glyphs").test
    return torch.as_tensor(test.x), torch.as_tensor(test.y).long()


def small_model(seed: int, qubits: int) -> Amplitude:
    torch.manual_seed(seed)
    model = Amplitude(features=2**qubits, layers=2, classes=min(qubits, 3))
    with torch.no_grad():
        model.theta.copy_(3 * torch.randn(model.theta.shape))
    return model


def images(seed: int, n: int, features: int) -> Tensor:
    """Pixels at 0, at 1, and between."""
    drawn = torch.rand(n, features, generator=torch.Generator().manual_seed(seed))
    return (1.6 * drawn - 0.3).clamp(0, 1)


def margins(forms: Tensor, z: Tensor, y: Tensor) -> Tensor:
    """Label's score less the best other, for points z (points, n, features)."""
    scores = torch.einsum("pnf,kfg,png->pnk", z, forms, z)
    scores = scores / z.square().sum(2, keepdim=True).clamp_min(1e-300)
    own = scores.gather(2, y.expand(len(z), -1)[:, :, None])[:, :, 0]
    label = torch.nn.functional.one_hot(y, len(forms)).bool()
    return own - scores.masked_fill(label, -torch.inf).amax(2)


def smallest_margin(
    forms: Tensor, x: Tensor, y: Tensor, norm: str, radius: Tensor, box: tuple | None, seed: int
) -> Tensor:
    """The smallest margin (n,) found within the radii (n,): samples, corners, descents."""
    generator = torch.Generator().manual_seed(seed)
    radius = radius[:, None]

    def inside(delta: Tensor) -> Tensor:
        for _ in range(1 if norm == "linf" or box is None else 10):
            if norm == "linf":
                delta = torch.minimum(torch.maximum(delta, -radius), radius)
            else:
                delta = delta * (radius / delta.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp(
                    max=1
                )
            if box is not None:
                delta = (x + delta).clamp(*box) - x
        if norm == "l2":  # clipping never lengthens
            assert bool((delta.norm(dim=-1, keepdim=True) <= radius * (1 + 1e-9) + 1e-12).all())
        return delta

    shape = (200, *x.shape)
    delta = torch.randn(shape, generator=generator, dtype=x.dtype)
    delta = delta.sign() * radius if norm == "linf" else delta / delta.norm(dim=-1, keepdim=True)
    delta[100:] *= torch.rand(100, *x.shape[:1], 1, generator=generator, dtype=x.dtype)
    delta = inside(delta * (1 if norm == "linf" else radius))
    smallest = margins(forms, x + delta, y).amin(0)
    for step in range(50):
        delta.requires_grad_()
        value = margins(forms, x + delta, y)
        (gradient,) = torch.autograd.grad(value.sum(), delta)
        smallest = torch.minimum(smallest, value.detach().amin(0))
        move = (
            gradient.sign()
            if norm == "linf"
            else gradient / gradient.norm(dim=-1, keepdim=True).clamp_min(1e-300)
        )
        delta = inside(delta.detach() - radius * (0.95**step) * 0.5 * move)
    return torch.minimum(smallest, margins(forms, x + delta, y).amin(0))
