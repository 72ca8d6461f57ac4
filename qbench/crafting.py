"""The crafting stage: run an attack, count what it uses, verify its result from outside."""

from __future__ import annotations

import math
import signal
import threading
import time
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


class TimeoutExceededError(Exception):
    """An attack or a certifier took longer than it may.

    Args:
        what: Which of the two.
    """

    def __init__(self, what: str = "attack") -> None:
        super().__init__(f"the {what} took longer than its time limit (--time-limit)")


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

    Args:
        model: What to count for.
        deadline: Of `time.monotonic`; no pass begins after it.
    """

    def __init__(self, model: nn.Module, deadline: float = math.inf) -> None:
        super().__init__()
        self.model, self.deadline = model, deadline
        self.forward_count = 0
        self.gradient_count = 0

    def forward(self, x: Tensor) -> Tensor:
        if time.monotonic() > self.deadline:
            raise TimeoutExceededError
        scores: Tensor = self.model(x)
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
    time_limit_s: float = math.inf,
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
        time_limit_s: How long the attack may take.

    Raises:
        TimeoutExceededError: It took longer.
        VerificationError: What the attack returned is no set of adversarial images for x.
    """
    counted = CountedModel(model, time.monotonic() + time_limit_s)
    generator = torch.Generator().manual_seed(seed)
    seen = counted if passes == 1 else ExpectedModel(counted, passes)
    with frozen(seen), time_limit(time_limit_s, "attack"):
        x_adv = attack(seen, x.clone(), y.clone(), threat, generator)
    verify(x_adv, x, threat)
    return Crafted(x_adv.detach(), counted.forward_count, counted.gradient_count)


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Stop Python code after `seconds`; only a process's main thread can be stopped.

    Raises:
        TimeoutExceededError: Naming `what` took longer.
    """
    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutExceededError(what)

    before = signal.signal(signal.SIGALRM, ring)
    # A second later than the deadline at the model, so that the two never ring together.
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
