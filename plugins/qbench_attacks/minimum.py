"""What attacks that minimise the distance share: the nearest point found, steps to a hyperplane."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from qbench.geometry import distance
from qbench.specs import Norm, ThreatModel
from qbench_attacks.base import Search, SearchAttack, others
from qbench_attacks.losses import margin


class Nearest:
    """The nearest adversarial point found of each image of a search, at any distance.

    Points are clipped to the box, not to the ball. An image that is adversarial as it is has
    distance 0.

    `targets` (n, classes − 1) are the classes other than the label, best clean score first.

    Args:
        search: The images under attack.
        probe: Whether the images themselves are scored first.
    """

    def __init__(self, search: Search, *, probe: bool = True) -> None:
        self.search = search
        self.points = search.x.clone()
        self.length = torch.full((len(search),), torch.inf, dtype=torch.float64)
        self.length = self.length.to(search.x.device)
        if probe:
            scores = search.scores(search.x)
            self.targets = others(scores, search.y)
            self.note(search.x, search.adversarial(scores))

    @property
    def found(self) -> Tensor:
        """Whether there is one, (n,)."""
        return self.length.isfinite()

    def note(self, points: Tensor, adversarial: Tensor) -> None:
        """Take over those of the points (n, features) that are adversarial and nearer."""
        length = distance(points, self.search.x, self.search.threat.norm)
        nearer = adversarial & (length < self.length)
        self.points = torch.where(nearer[:, None], points, self.points)
        self.length = torch.where(nearer, length, self.length)

    def attempt(self, points: Tensor) -> Tensor:
        """Whether points (n, features), already in the box, are adversarial; notes them."""
        adversarial = self.search.adversarial(self.search.scores(points))
        self.note(points, adversarial)
        return adversarial

    def attempt_some(self, rows: Tensor, points: Tensor) -> Tensor:
        """`attempt` for the images at `rows` alone, points (rows, features)."""
        search = self.search.only(rows)
        adversarial = search.adversarial(search.scores(points))
        self.note_some(rows, points, adversarial)
        return adversarial

    def note_some(self, rows: Tensor, points: Tensor, adversarial: Tensor) -> None:
        """`note` for the images at `rows` alone."""
        spread, chosen = self.points.clone(), torch.zeros_like(self.found)
        spread[rows], chosen[rows] = points, adversarial
        self.note(spread, chosen)

    def to_boundary(self, far: Tensor, halvings: int) -> Tensor:
        """Bisect the way from the images to adversarial points; its adversarial end.

        The way is a segment in ℓ2; in ℓ∞ it goes through the points clipped to smaller balls.
        """
        search = self.search
        reach = (far - search.x).abs().amax(1, keepdim=True)

        def at(share: Tensor) -> Tensor:
            if search.threat.norm == "linf":
                delta = (far - search.x).clamp(-share * reach, share * reach)
                return search.clip(search.x + delta)
            return search.clip(torch.lerp(search.x, far, share))

        low = torch.zeros(len(search), 1, dtype=search.x.dtype, device=search.x.device)
        high = torch.ones_like(low)
        for _ in range(halvings):
            middle = (low + high) / 2
            adversarial = self.attempt(at(middle))[:, None]
            low = torch.where(adversarial, low, middle)
            high = torch.where(adversarial, middle, high)
        return at(high)

    def refine(self, halvings: int) -> None:
        """Bisect the segments to the nearest points found."""
        self.to_boundary(self.points, halvings)


class MinimumNormAttack(SearchAttack):
    """An attack that looks for the smallest perturbation, whatever ε is.

    What it returns is the nearest adversarial image found where that lies within ε, so its distance
    is the one found; where it lies further out, its projection to the ball; where there is
    none, the image.
    """

    rank = staticmethod(margin)

    def run(self, search: Search) -> None:
        """Minimise, then visit the nearest point."""
        nearest = Nearest(search)
        self.minimise(nearest)
        search.visit(nearest.points)

    @abstractmethod
    def minimise(self, nearest: Nearest) -> None:
        """Attempt points."""


def step_to_plane(points: Tensor, normal: Tensor, gap: Tensor, threat: ThreatModel) -> Tensor:
    """The shortest δ with normal·δ = −gap that keeps points + δ in the box, in ℓ∞ or ℓ2.

    Every coordinate moves against the sign of gap·normal, by min(λ, room) in ℓ∞ and by
    min(λ|normal|, room) in ℓ2, room being its way to the box. So normal·δ is piecewise linear in
    λ, and sorting the places where coordinates meet the box gives λ exactly. Where no point of the
    box reaches the plane, δ goes as near as it can.

    Args:
        points: (n, features), in the box.
        normal: (n, features).
        gap: (n,).
        threat: Norm and box.
    """
    against = -torch.where(gap < 0, -1.0, 1.0)[:, None].to(normal.dtype) * normal.sign()
    steep = normal.abs()
    if threat.box is None:
        room = torch.full_like(points, torch.inf)
    else:
        low, high = threat.box
        room = torch.where(against > 0, high - points, points - low).clamp_min(0)
    if threat.norm == "linf":
        gain, limit = steep, room
    else:
        gain, limit = steep.square(), room / steep  # 0/0, with no slope to gain, is masked below
    multiplier = _multiplier(gain, torch.where(steep > 0, limit, torch.inf), gap.abs())[:, None]
    length = multiplier if threat.norm == "linf" else multiplier * steep
    return torch.where(steep > 0, against * torch.minimum(length, room), 0.0)


def _multiplier(gain: Tensor, limit: Tensor, wanted: Tensor) -> Tensor:
    """λ with Σ gain·min(λ, limit) = wanted, (n,); the largest finite limit where none does."""
    limit, order = limit.sort(dim=1)
    gain = gain.gather(1, order)
    finite = limit.isfinite()
    used = torch.where(finite, gain * limit, 0.0).cumsum(1)
    before = torch.cat([torch.zeros_like(used[:, :1]), used[:, :-1]], 1)
    rest = gain.flip(1).cumsum(1).flip(1)  # gains of the coordinates not yet at their limit
    reached = before + rest * torch.where(finite, limit, 0.0)
    enough = (reached >= wanted[:, None]) | ~finite
    first = torch.where(enough.any(1), enough.int().argmax(1), gain.shape[1] - 1)[:, None]
    tiny = torch.finfo(gain.dtype).tiny
    exact = (wanted - before.gather(1, first)[:, 0]) / rest.gather(1, first)[:, 0].clamp_min(tiny)
    end = torch.where(finite, limit, 0.0).amax(1)
    solvable = enough.any(1) & (rest.gather(1, first)[:, 0] > 0)
    return torch.where(solvable, exact, end)


def norms(delta: Tensor, norm: Norm) -> Tensor:
    """‖δ‖ of each row of (n, features)."""
    return delta.abs().amax(1) if norm == "linf" else torch.linalg.vector_norm(delta, dim=1)


def dual(normal: Tensor, norm: Norm) -> Tensor:
    """The dual norm over the last axis: how fast a unit step in `norm` can climb."""
    return normal.abs().sum(-1) if norm == "linf" else torch.linalg.vector_norm(normal, dim=-1)
