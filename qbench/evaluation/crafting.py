"""The crafting stage: run an attack, count what it uses, verify its result from outside."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.geometry import distance
from qbench.interfaces import Attack
from qbench.specs import ThreatModel

TOLERANCE = 1e-6  # relative, on ε
SAMPLES = 32  # questions of an attack that are kept, to be asked again


@dataclass(frozen=True)
class Sample:
    """One image that an attack asked about, and what it was told.

    Args:
        x: The image (features,).
        scores: What the model said of it (classes,).
        upstream: Derivative of the attack's loss by the scores (classes,); None where the attack
            took no gradient.
        gradient: Derivative by the image, as it came back (features,).
    """

    x: Tensor
    scores: Tensor
    upstream: Tensor | None = None
    gradient: Tensor | None = None


@dataclass(frozen=True)
class Crafted:
    """Verified adversarial images (n, features), and what passed between attack and model.

    `forward` counts every image scored, `gradient` every image differentiated, and `unusable`
    those of them whose gradient was zero or not finite. `samples` are a few of the questions.
    """

    x_adv: Tensor
    forward: int
    gradient: int
    unusable: int = 0
    samples: tuple[Sample, ...] = ()


class CountedModel(nn.Module):
    """A model that counts the images passed through it, forwards and backwards.

    The model gets a copy of every input: what it changes there changes nothing for its caller.
    Scores come in the precision of the images. A few questions are kept, with their answers.

    Args:
        model: What to count for.
        seed: Of the choice of questions.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.forward_count = 0
        self.gradient_count = 0
        self.unusable_count = 0
        self._calls = 0
        self._draw = random.Random(seed)
        self._samples: list[Sample] = []

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Questions and answers: of all calls, `SAMPLES` with equal chances."""
        return tuple(self._samples)

    def forward(self, x: Tensor) -> Tensor:
        given = x.clone()
        asked = self._chosen(x)
        upstream: list[Tensor] = []
        if given.requires_grad:

            def came_back(gradient: Tensor) -> None:
                self.gradient_count += len(gradient)
                # Where the loss is flat in the scores, no gradient is the right answer.
                flat = (upstream[0] == 0).all(1) if upstream else False
                usable = gradient.isfinite().all(1) & ((gradient != 0).any(1) | flat)
                self.unusable_count += int((~usable).sum())
                if asked is not None and upstream:
                    self._complete(asked, answer, upstream[0], gradient)

            given.register_hook(came_back)  # type: ignore[no-untyped-call]
        scores = checked_scores(self.model(given), len(x)).to(x.dtype)
        self.forward_count += len(x)
        answer = scores.detach()
        if asked is not None:
            place, row = asked
            self._samples[place : place + 1] = [Sample(x.detach()[row].clone(), answer[row])]
        if scores.requires_grad:

            def went_in(gradient: Tensor) -> None:
                upstream[:] = [gradient]

            scores.register_hook(went_in)  # type: ignore[no-untyped-call]
        return scores

    def _complete(
        self, asked: tuple[int, int], answer: Tensor, upstream: Tensor, gradient: Tensor
    ) -> None:
        """Add the gradient to a sample, unless another question has taken its place since."""
        place, row = asked
        sample = self._samples[place]
        if sample.scores.data_ptr() == answer[row].data_ptr():
            self._samples[place] = replace(
                sample, upstream=upstream[row].clone(), gradient=gradient[row].clone()
            )

    def _chosen(self, x: Tensor) -> tuple[int, int] | None:
        """Where among the samples a question of this call is kept, and which of its images."""
        self._calls += 1
        place = self._calls - 1 if self._calls <= SAMPLES else self._draw.randrange(self._calls)
        return (place, self._draw.randrange(len(x))) if place < SAMPLES and len(x) else None


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
    counted = CountedModel(model, seed)
    generator = torch.Generator().manual_seed(seed)
    seen = counted if passes == 1 else ExpectedModel(counted, passes)
    with frozen(seen):
        x_adv = attack(seen, x.clone(), y.clone(), threat, generator)
    verify(x_adv, x, threat)
    return Crafted(
        x_adv.detach(),
        counted.forward_count,
        counted.gradient_count,
        counted.unusable_count,
        counted.samples,
    )


def verify(x_adv: object, x: Tensor, threat: ThreatModel) -> None:
    """Check that every x_adv may stand for its x: shape, type, finite, inside box and ball.

    Raises:
        VerificationError: Naming the first image that may not, and by how much.
    """
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise VerificationError(f"the attack returned {_what(x_adv)} instead of {_what(x)}")
    for good, complaint in allowed(x_adv, x, threat, beyond="leaves the ball"):
        if not bool(good.all()):
            bad = (~good).nonzero()[:, 0]
            which = f"adversarial image {int(bad[0])} ({len(bad)} in all)"
            raise VerificationError(f"{which} {complaint}")


def allowed(
    x_adv: Tensor, x: Tensor, threat: ThreatModel, *, beyond: str
) -> Iterator[tuple[Tensor, str]]:
    """Which x_adv may stand for their x: finite ones, those in the box, those in the ball.

    Args:
        x_adv, x: Images (n, features).
        threat: Norm, ε and box.
        beyond: What to say of one outside the ball.

    Yields:
        (n,) for each of the three, and what is wrong with the others.
    """
    yield torch.isfinite(x_adv).all(1), "is not finite"
    if threat.box is not None:
        low, high = threat.box
        yield ((x_adv >= low) & (x_adv <= high)).all(1), f"leaves the box [{low:g}, {high:g}]"
    length = distance(x_adv, x, threat.norm)
    far = f"{threat.norm} distance up to {length.max():.9g}, ε is {threat.eps:g}"
    yield length <= threat.eps * (1 + TOLERANCE), f"{beyond}: {far}"


def _what(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    return type(value).__name__


def checked_scores(scores: object, images: int) -> Tensor:
    """Scores, if they are a tensor (images, classes).

    Raises:
        VerificationError: They are something else.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        raise VerificationError(
            f"a model must give a tensor of scores ({images}, classes), got {_what(scores)}"
        )
    if scores.dim() != 2 or len(scores) != images or scores.shape[1] < 2:
        raise VerificationError(
            f"a model must give scores ({images}, classes), got {tuple(scores.shape)}"
        )
    return scores


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
