"""Small models that plugins are tried on: their robustness is known, or easily found."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.evaluation.crafting import frozen
from qbench.evaluation.scoring import margins, predict
from qbench.geometry import ascent_direction, project, random_start
from qbench.registry import Registry
from qbench.specs import Norm, ThreatModel
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo

FEATURES = 64  # 8x8: some attacks take square images only
IMAGES = 16
STARTS = 8  # of the search for adversarial images within a radius
STEPS = 60


@dataclass(frozen=True)
class Reference:
    """A model with images and the labels that it gives them.

    Args:
        name: For messages.
        structure: As certifiers name it.
        model: The model, in evaluation mode.
        x: Images (n, features) in [0, 1].
        y: Labels (n,).
        eps: By norm, a budget within which a good attack breaks most images, and noise few.
        exact: By norm, the distance (n,) of each image to the nearest one of another class,
            where it is known.
    """

    name: str
    structure: str
    model: nn.Module
    x: Tensor
    y: Tensor
    eps: dict[Norm, float]
    exact: dict[Norm, Tensor] | None = None


def linear(classes: int) -> Reference:
    """A random linear model: the distance is the margin over the dual norm of its gradient.

    Images lie in the middle of the box and near the boundary, so that the box changes nothing.
    """
    generator = torch.Generator().manual_seed(classes)
    layer = nn.Linear(FEATURES, classes)
    weights = torch.randn(classes, FEATURES, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(weights)
        layer.bias.copy_(-weights.sum(1) / 2)  # all scores are equal in the middle of the box
    x = 0.5 + 0.1 * (torch.rand(IMAGES, FEATURES, generator=generator) - 0.5)
    model = nn.Sequential(layer).eval()
    y = predict(model, x).argmax(1)
    weights = weights.double()
    scores = x.double() @ weights.T + layer.bias.detach().double()
    gaps = scores.gather(1, y[:, None]) - scores
    normals = weights[y][:, None] - weights[None]
    exact: dict[Norm, Tensor] = {}
    for norm, dual in (("linf", normals.abs().sum(2)), ("l2", normals.norm(dim=2))):
        exact[norm] = torch.where(dual > 0, gaps / dual, torch.inf).amin(1)  # type: ignore[index]
    eps: dict[Norm, float] = {norm: 1.2 * float(far.max()) for norm, far in exact.items()}
    return Reference(f"a linear model of {classes} classes", "linear", model, x, y, eps, exact)


def network(classes: int = 3) -> Reference:
    """A random network with one hidden layer, centred so that it uses every class."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(classes)
        last = nn.Linear(32, classes)
        model = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), last).eval()
        x, many = torch.rand(IMAGES, FEATURES), torch.rand(500, FEATURES)
    x[:, ::5] = x[:, ::5].round()  # also on the edges of the box
    with torch.no_grad():
        last.bias.sub_(model(many).mean(0))
    y = predict(model, x).argmax(1)
    return Reference("a network of one hidden layer", "mlp", model, x, y, {"linf": 0.15, "l2": 1.0})


class Forms(nn.Module):
    """Scores x̂ᵀA_k x̂ of x̂ = x/‖x‖, as models with amplitude encoding have."""

    def __init__(self, forms: Tensor) -> None:
        super().__init__()
        self.forms = nn.Parameter(forms)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images (n, features)."""
        unit = x / x.norm(dim=1, keepdim=True)
        return torch.einsum("nf,kfg,ng->nk", unit, self.forms.to(x.dtype), unit)

    def quadratic_forms(self) -> Tensor:
        """A_k, (classes, features, features)."""
        return self.forms.detach()


def forms(classes: int = 3) -> Reference:
    """Random symmetric forms, all equal at the image whose pixels are alike."""
    generator = torch.Generator().manual_seed(classes)
    raw = torch.randn(classes, FEATURES, FEATURES, generator=generator)
    model = Forms((raw + raw.mT) / 2).eval()
    x = torch.rand(IMAGES, FEATURES, generator=generator)
    y = predict(model, x).argmax(1)
    return Reference("quadratic forms", "amplitude-circuit", model, x, y, {"linf": 0.3, "l2": 2.0})


def build(registry: Registry, name: str) -> tuple[nn.Module, bool]:
    """A model of the registry with the zoo's weights of seed 0, and whether the zoo has any."""
    model: nn.Module = registry.get("model", name).create()
    zoo = Zoo()
    trained = zoo.sha256(name, 0) is not None
    if trained:
        load_into(model, unpack(zoo.read(name, 0), name)[0].weights, name)
    return model.eval(), trained


def broken_within(model: nn.Module, x: Tensor, y: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """Which images PGD breaks within a radius of their own (n,) and the box, (n,).

    Args:
        model: The model.
        x, y: Images (n, features) and labels (n,).
        radius: Of each image, above 0.
        norm: Of the radius.
    """
    generator = torch.Generator().manual_seed(0)
    found = torch.zeros(len(y), dtype=torch.bool)
    with frozen(model):
        for i, far in enumerate(radius.tolist()):
            eps = min(far * (1 - 1e-6), x.shape[1] ** 0.5)
            threat = ThreatModel(norm=norm, eps=eps)
            centre, label = x[i].repeat(STARTS, 1), y[i].repeat(STARTS)
            points = torch.cat([centre[:1], random_start(centre[1:], threat, generator)])
            for _ in range(STEPS):
                points.requires_grad_()
                margin = margins(model(points.clone()), label)
                found[i] |= bool((margin < 0).any())
                (gradient,) = torch.autograd.grad(-margin.sum(), points)
                step = 2.5 * eps / STEPS * ascent_direction(gradient, norm)
                points = project(points.detach() + step, centre, threat)
            found[i] |= bool((margins(model(points), label) < 0).any())
    return found
