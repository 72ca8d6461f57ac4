"""The crafting stage: run an attack, count what it uses, verify its result from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.geometry import distance
from qbench.interfaces import Attack
from qbench.specs import ThreatModel

TOLERANCE = 1e-6  # relative, on ε


@dataclass(frozen=True)
class Crafted:
    """Verified adversarial images (n, features), and how many images went through the model.

    `forward` counts every image scored, `gradient` every image differentiated.
    """

    x_adv: Tensor
    forward: int
    gradient: int


class CountedModel(nn.Module):
    """A model that counts the images passed through it, forwards and backwards.

    The model gets a copy of every input: what it changes there changes nothing for its caller.

    Args:
        model: What to count for.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forward_count = 0
        self.gradient_count = 0

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x.clone())
        self.forward_count += len(x)
        if scores.requires_grad:
            scores.register_hook(self._count_gradient)  # type: ignore[no-untyped-call]
        return scores

    def _count_gradient(self, gradient: Tensor) -> None:
        self.gradient_count += len(gradient)


class ExpectedModel(nn.Module):
    """Expectation over transformation (Athalye et al. 2018): scores averaged over fresh passes.

    What an attack sees of a stochastic model, forwards and backwards.

    Args:
        model: The stochastic model.
        passes: How many passes are averaged.
    """

    def __init__(self, model: nn.Module, passes: int) -> None:
        super().__init__()
        self.model, self.passes = model, passes

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.model(x) for _ in range(self.passes)]).mean(0)


def craft(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    seed: int,
    *,
    passes: int = 1,
) -> Crafted:
    """Adversarial images for (x, y).

    Args:
        attack: What makes them.
        model: The model under attack; its parameters get no gradients meanwhile.
        x: Clean images (n, features) in the threat model's box.
        y: Labels to leave, or to reach when the threat model is targeted, (n,).
        threat: Norm, ε, box and goal.
        seed: Of the generator handed to the attack.
        passes: How many passes the attack averages at every query of a stochastic model.

    Raises:
        VerificationError: What the attack returned is no set of adversarial images for x.
    """
    counted = CountedModel(model)
    generator = torch.Generator().manual_seed(seed)
    seen = counted if passes == 1 else ExpectedModel(counted, passes)
    with frozen(seen):
        x_adv = attack(seen, x.clone(), y.clone(), threat, generator)
    verify(x_adv, x, threat)
    return Crafted(x_adv.detach(), counted.forward_count, counted.gradient_count)


def verify(x_adv: object, x: Tensor, threat: ThreatModel) -> None:
    """Check that every x_adv may stand for its x: shape, type, finite, inside box and ball.

    Raises:
        VerificationError: Naming the first image that may not, and by how much.
    """
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise VerificationError(f"the attack returned {_what(x_adv)} instead of {_what(x)}")
    _check(torch.isfinite(x_adv).all(1), "is not finite")
    if threat.box is not None:
        low, high = threat.box
        _check(((x_adv >= low) & (x_adv <= high)).all(1), f"leaves the box [{low:g}, {high:g}]")
    length = distance(x_adv, x, threat.norm)
    inside = length <= threat.eps * (1 + TOLERANCE)
    far = f"{threat.norm} distance up to {length.max():.9g}, ε is {threat.eps:g}"
    _check(inside, f"leaves the ball: {far}")


def _what(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    return type(value).__name__


def _check(good: Tensor, complaint: str) -> None:
    if not bool(good.all()):
        bad = (~good).nonzero()[:, 0]
        raise VerificationError(f"adversarial image {int(bad[0])} ({len(bad)} in all) {complaint}")


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without parameter gradients, for the time of the block."""
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = {module: module.training for module in model.modules()}
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, requires in wanted.items():
            parameter.requires_grad_(requires)
        for module, mode in training.items():
            module.training = mode
