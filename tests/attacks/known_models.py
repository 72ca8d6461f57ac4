"""Models whose exact robustness is known, and what the tests of attacks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.evaluation.crafting import Crafted, craft
from qbench.geometry import distance
from qbench.specs import ThreatModel


class Linear(nn.Module):
    """Scores W(x − ½) + b in any number of classes."""

    def __init__(self, weights: Tensor, offsets: Tensor) -> None:
        super().__init__()
        self.weights, self.offsets = nn.Parameter(weights), nn.Parameter(offsets)

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) @ self.weights.T + self.offsets

    def distances(self, x: Tensor, y: Tensor, norm: str) -> Tensor:
        """The distance to the nearest other class, without a box: gap over the dual norm."""
        weights = self.weights.double()
        scores = (x.double() - 0.5) @ weights.T + self.offsets.double()
        gaps = scores.gather(1, y[:, None]) - scores
        normals = weights[y][:, None] - weights[None]
        dual = normals.abs().sum(2) if norm == "linf" else normals.norm(dim=2)
        dual[torch.arange(len(y)), y] = 0
        far = torch.where(dual > 0, gaps / dual, torch.inf)
        return far.amin(1).detach()


def linear(classes: int, features: int = 12, seed: int = 0) -> tuple[Linear, Tensor, Tensor]:
    """A random linear model and 24 images near the middle of the box with their predictions."""
    generator = torch.Generator().manual_seed(seed + 100 * classes)
    weights = torch.randn(classes, features, generator=generator)
    model = Linear(weights, 0.1 * torch.randn(classes, generator=generator))
    x = 0.5 + 0.1 * (torch.rand(24, features, generator=generator) - 0.5)
    return model, x, model(x).argmax(1)


class Rows(nn.Linear):
    """A linear layer that rounds a row alike in every batch; a matrix product need not."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] * self.weight).sum(2) + self.bias


def network(classes: int, features: int = 16, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A random smooth network, centred so that it uses every class, and 20 images with labels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 100 * classes)
        last = Rows(24, classes)
        model = nn.Sequential(Rows(features, 24), nn.Tanh(), last)
        x = torch.rand(20, features)
        with torch.no_grad():
            last.bias -= model(torch.rand(500, features)).mean(0)
    return model, x, model(x).argmax(1)


class Forms(nn.Module):
    """Scores x̂ᵀA_k x̂ of x̂ = x/‖x‖, as an amplitude model has."""

    def __init__(self, forms: Tensor) -> None:
        super().__init__()
        self.forms = nn.Parameter(forms, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        unit = x / x.norm(dim=1, keepdim=True)
        return torch.einsum("nf,kfg,ng->nk", unit, self.forms.to(x.dtype), unit)

    def quadratic_forms(self) -> Tensor:
        return self.forms.detach()


def forms(classes: int, features: int, seed: int) -> Forms:
    """Random symmetric forms."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(classes, features, features, generator=generator, dtype=torch.float64)
    return Forms((raw + raw.mT) / 2)


class LabelsOnly(nn.Module):
    """Another model's predicted labels as one-hot scores; asking for a gradient is an error."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise AssertionError("a gradient was asked for")
        scores = self.model(x)
        return torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1]).to(x.dtype)


class Recorder(nn.Module):
    """Keeps every batch that another model is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return self.model(x)


class ScoresOnly(LabelsOnly):
    """Another model's scores; asking for a gradient is an error."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise AssertionError("a gradient was asked for")
        return self.model(x).detach()


def run(attack, model, x, y, *, norm="linf", eps=0.1, seed=0, **threat) -> Crafted:
    """Craft; `craft` verifies ball and box."""
    return craft(attack, model, x, y, ThreatModel(norm=norm, eps=eps, **threat), seed)


def broken(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    """Which images are misclassified."""
    return model(x_adv).argmax(1) != y


def lengths(crafted: Crafted, x: Tensor, norm: str) -> Tensor:
    """How far each image was moved."""
    return distance(crafted.x_adv, x, norm)
