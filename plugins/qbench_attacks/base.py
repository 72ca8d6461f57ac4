"""What every attack of ours shares: the ball, the box, the check, and which point is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.geometry import project, random_start
from qbench.specs import ThreatModel
from qbench_attacks.losses import Loss, cross_entropy, margin, spread
from qbench_attacks.tape import Tape

Keep = Literal["best", "last"]

# An attack that takes every class but the label in turn declares its passes for this many: what
# four classes, as in the glyphs, leave.
USUAL_TARGETS = 3

# How often a stochastic model is asked again before a point counts as fooling it.
_CONFIRMATIONS = 2


@dataclass
class _Batch:
    """What all parts of one search share, one row an image of the whole batch.

    `asked` and `vanished` count gradients; `gap` and `scaled` are the largest margins seen, see
    `Search.margins`.
    """

    x: Tensor
    generator: torch.Generator
    kept: Tensor
    fooled: Tensor
    merit: Tensor
    asked: Tensor
    vanished: Tensor
    gap: Tensor
    scaled: Tensor


class Search:
    """The points visited for a batch of images, and the one kept of each.

    Every point is projected into the ball and the box before the model sees it. With
    `keep="best"` a point that fools the model beats one that does not, and among equals the one
    with the larger `rank` wins; with `keep="last"` the last one visited is kept.

    `only` confines the search to some of its images, `repeat` takes several copies of each at
    once. Random numbers are drawn for the whole batch whichever images take part, so that those
    that leave change nothing for those that stay (as far as the model itself scores an image alike
    in every batch).

    Of a model whose scores are means over fresh passes (its attribute `passes` is above 1), a point
    counts as fooling only if the model, asked twice more, says so each time: one lucky draw among
    hundreds of points does not count.

    Args:
        model: The model under attack.
        x: Clean images (n, features).
        y: Labels to leave, or to reach when the threat model is targeted, (n,).
        threat: Norm, ε, box and goal.
        generator: Source of all randomness.
        keep: Which point is kept.
        rank: The loss that compares points.
        inner: Whether losses look at the scores before a last step that flattens them (see
            `tape`), and margins are kept. What fools the model is decided by its real scores.
    """

    copies = 1

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: ThreatModel,
        generator: torch.Generator,
        *,
        keep: Keep = "best",
        rank: Loss = cross_entropy,
        inner: bool = False,
    ) -> None:
        self.model, self.x, self.y, self.threat = model, x, y, threat
        self.keep, self.rank, self.inner = keep, rank, inner
        self._confirmations = _CONFIRMATIONS if getattr(model, "passes", 1) > 1 else 0
        self._rows = torch.arange(len(x), device=x.device)
        self._batch = _Batch(
            x=x,
            generator=generator,
            kept=x.clone(),
            fooled=torch.zeros(len(x), dtype=torch.bool, device=x.device),
            merit=torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device),
            asked=torch.zeros(len(x), dtype=torch.long, device=x.device),
            vanished=torch.zeros(len(x), dtype=torch.long, device=x.device),
            gap=torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device),
            scaled=torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device),
        )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def generator(self) -> torch.Generator:
        """Source of all randomness."""
        return self._batch.generator

    @property
    def kept(self) -> Tensor:
        """The point kept of each image, (n, features)."""
        return self._batch.kept[self._rows]

    @property
    def fooled(self) -> Tensor:
        """Whether that point fools the model, (n,)."""
        return self._batch.fooled[self._rows]

    @property
    def vanished(self) -> Tensor:
        """The share of its gradients that were zero, or not finite somewhere, (n,); 0 of none."""
        asked = self._batch.asked[self._rows].clamp_min(1)
        return self._batch.vanished[self._rows] / asked

    @property
    def margins(self) -> tuple[Tensor, Tensor]:
        """The largest margins seen so far, (n,) each; kept where `inner` is set.

        One is in units of the scores (before a flattening last step), the other in units of the gap
        between the largest and the smallest of them, which no scale of the scores changes.
        """
        return self._batch.gap[self._rows], self._batch.scaled[self._rows]

    def only(self, chosen: Tensor) -> Search:
        """The same search for the images chosen by a mask or by indices, (n,)."""
        part = object.__new__(Search)
        part.__dict__.update(self.__dict__)
        part.x, part.y, part._rows = self.x[chosen], self.y[chosen], self._rows[chosen]
        return part

    def repeat(self, copies: int) -> Search:
        """The same search with every image several times, first all of them, then all again.

        Points, starts and losses are then (copies · n, ...); what is kept stays one of each image.
        """
        part = object.__new__(Search)
        part.__dict__.update(self.__dict__)
        part.x, part.y, part.copies = self.x.repeat(copies, 1), self.y.repeat(copies), copies
        return part

    def random_start(self) -> Tensor:
        """A uniform point of the ball around each image."""
        batch, rows = self._batch, self._rows
        starts = [
            random_start(batch.x, self.threat, batch.generator)[rows] for _ in range(self.copies)
        ]
        return torch.cat(starts)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (n, *shape)."""
        batch = self._batch
        size = (len(batch.x), *shape)
        drawn = torch.rand(size, generator=batch.generator, dtype=batch.x.dtype)
        return drawn.to(batch.x.device)[self._rows]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (n, *shape)."""
        batch = self._batch
        size = (len(batch.x), *shape)
        drawn = torch.randn(size, generator=batch.generator, dtype=batch.x.dtype)
        return drawn.to(batch.x.device)[self._rows]

    def signs(self, *shape: int) -> Tensor:
        """−1 or 1 at random, (n, *shape)."""
        return torch.where(self.uniform(*shape) < 0.5, -1.0, 1.0).to(self.x.dtype)

    def project(self, points: Tensor) -> Tensor:
        """Points pulled into the ball and the box."""
        return project(points, self.x, self.threat)

    def clip(self, points: Tensor) -> Tensor:
        """Points pulled into the box alone, for attacks that minimise the distance."""
        return points if self.threat.box is None else points.clamp(*self.threat.box)

    def visit(self, points: Tensor) -> Tensor:
        """Try the points that these are projected to; returns what losses look at (n, classes)."""
        points = self.project(points)
        with torch.no_grad():
            scores, seen = self._ask(points)
        self._consider(points, scores, seen)
        return seen

    def check_again(self) -> Tensor:
        """Ask about the points that fooled the model once more, and drop those that do not now.

        Returns:
            (n,): images whose point was dropped. Of a model that answers alike whenever it is asked
            there is none.
        """
        rows, wrong = self._rows, torch.zeros_like(self.fooled)
        at = self.fooled.nonzero()[:, 0]
        if len(at):
            wrong[at] = ~self.only(at).adversarial(self.scores(self.kept[at]))
            self._batch.fooled[rows[wrong]] = False
            self._batch.merit[rows[wrong]] = -torch.inf
        return wrong

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Try the points that these are projected to.

        Returns:
            Those points, and there the loss to ascend (n,) and its gradient.

        Raises:
            Unsupported: The scores have no gradient.
        """
        points = self.project(points)
        scores, seen, losses, gradient = self.differentiate(
            points, lambda seen: self.objective(seen, loss)
        )
        self._consider(points, scores, seen)
        return points, losses, gradient

    def differentiate(
        self, points: Tensor, value: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradient of a value of the scores at points (n, features) as they are.

        Entries that are not finite become zero: they say nothing, and would spoil every step.

        Returns:
            Scores and what losses look at, (n, classes) each, the value (n,) of the latter, and its
            gradient (n, features).

        Raises:
            Unsupported: The scores have no gradient.
        """
        points = points.detach().requires_grad_()
        try:
            with torch.enable_grad():
                scores, seen = self._ask(points)
                values = value(seen)
        except RuntimeError as error:
            if "requires grad" not in str(error):
                raise
            raise _no_gradient(str(error).splitlines()[0]) from error
        if not values.requires_grad:
            raise _no_gradient("the model cuts them off, e.g. by detach(), no_grad() or NumPy")
        (gradient,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
        if gradient is None:
            raise _no_gradient("the model does not compute them from the tensor that it is given")
        finite = gradient.isfinite()
        gradient = gradient.where(finite, gradient.new_zeros(()))
        self._count(~finite.all(1) | (gradient == 0).all(1))
        return scores.detach(), seen.detach(), values.detach(), gradient

    def scores(self, points: Tensor) -> Tensor:
        """What the model says of points as they are, none of which is kept."""
        with torch.no_grad():
            scores: Tensor = self.model(points)
        return scores

    def objective(self, scores: Tensor, loss: Loss) -> Tensor:
        """The loss with the sign that makes the attack ascend it."""
        losses = loss(scores, self.y)
        return -losses if self.threat.targeted else losses

    def adversarial(self, scores: Tensor) -> Tensor:
        """Whether these scores (n, classes) reach the attack's goal."""
        hit = scores.argmax(1) == self.y
        return hit if self.threat.targeted else ~hit

    def _ask(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and what losses look at, (n, classes) each."""
        if not self.inner:
            scores: Tensor = self.model(points)
            return scores, scores
        with Tape() as tape:
            scores = self.model(points)
        # Of a model in double precision, what was found may not be in the precision of the images.
        return scores, tape.before(scores).to(scores.dtype)

    def _count(self, vanished: Tensor) -> None:
        batch, rows = self._batch, self._rows
        batch.asked[rows] += self.copies
        batch.vanished[rows] += vanished.view(self.copies, -1).sum(0)

    def _consider(self, points: Tensor, scores: Tensor, seen: Tensor) -> None:
        batch, rows = self._batch, self._rows
        if self.inner:
            self._note_margins(seen)
        merit, fooled = self.objective(scores, self.rank), self.adversarial(scores)
        if self.copies > 1:
            best = _best_copy(merit.view(self.copies, -1), fooled.view(self.copies, -1))
            points, merit, fooled = points[best], merit[best], fooled[best]
        before, best_merit = batch.fooled[rows], batch.merit[rows]
        if self._confirmations:
            fooled = self._confirmed(points, fooled, fooled & (~before | (merit > best_merit)))
        better = (fooled & ~before) | ((fooled == before) & (merit > best_merit))
        if self.keep == "last":
            better = torch.ones_like(better)
        batch.kept[rows] = torch.where(better[:, None], points, batch.kept[rows])
        batch.fooled[rows] = torch.where(better, fooled, before)
        batch.merit[rows] = torch.where(better, merit, best_merit)

    def _confirmed(self, points: Tensor, fooled: Tensor, doubtful: Tensor) -> Tensor:
        """Which of the points fool the model, with the doubtful ones asked about again, (n,)."""
        fooled, y = fooled.clone(), self.y[: len(points)]
        for _ in range(self._confirmations):
            asked = (doubtful & fooled).nonzero()[:, 0]
            if not len(asked):
                break
            hit = self.scores(points[asked]).argmax(1) == y[asked]
            fooled[asked] = hit if self.threat.targeted else ~hit
        return fooled

    def _note_margins(self, seen: Tensor) -> None:
        batch, rows = self._batch, self._rows
        gap = self.objective(seen, margin)
        scaled = (gap / spread(seen)).view(self.copies, -1).amax(0)
        batch.gap[rows] = torch.fmax(batch.gap[rows], gap.view(self.copies, -1).amax(0))
        batch.scaled[rows] = torch.fmax(batch.scaled[rows], scaled)


def _best_copy(merit: Tensor, fooled: Tensor) -> Tensor:
    """Which row of (copies, n) is the best of each image, as an index into all of them, (n,)."""
    eligible = fooled | ~fooled.any(0)
    ordered = merit.nan_to_num(nan=-torch.inf).where(eligible, merit.new_full((), -torch.inf))
    # Of merits that are all −inf, the first that is eligible.
    best = torch.where(ordered.isneginf().all(0), eligible.int().argmax(0), ordered.argmax(0))
    images = merit.shape[1]
    return best * images + torch.arange(images, device=merit.device)


def _no_gradient(why: str) -> Unsupported:
    return Unsupported(f"the scores have no gradient with respect to the images: {why}")


class SearchAttack(ABC):
    """An attack that searches the ball; `keep`, `rank` and `inner` are those of its `Search`."""

    keep: Keep = "best"
    rank: Loss = staticmethod(cross_entropy)
    inner = False

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat_model: ThreatModel,
        generator: torch.Generator,
    ) -> Tensor:
        """Adversarial images (n, features) for images x and labels y (see `interfaces.Attack`)."""
        search = Search(
            model,
            x,
            y,
            threat_model,
            generator,
            keep=self.keep,
            rank=self.rank,
            inner=self.inner,
        )
        self.run(search)
        return search.kept

    @abstractmethod
    def run(self, search: Search) -> None:
        """Visit points. One search may be handed to one attack after the other."""


def at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError, naming the parameter, unless value ≥ least."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")


def others(scores: Tensor, y: Tensor) -> Tensor:
    """Classes other than the label, best score first: (n, classes − 1)."""
    order = scores.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order[:, :-1]
