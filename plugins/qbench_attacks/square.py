"""Square attack: random search over windows, scores only (Andriushchenko et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qbench_attacks.base import Search, SearchAttack, at_least
from qbench_attacks.losses import margin

# The paper's schedule for 10,000 queries: the window's share of the image halves after each.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def window(share: float, height: int, width: int) -> tuple[int, int]:
    """Size of a square window with this share of an image, or of a window of a line."""
    if height == 1:
        return 1, min(max(round(share * width), 1), width)
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    return side, side


class Square(SearchAttack):
    """Square attack on the margin; an image leaves once it is fooled.

    ℓ∞ starts from vertical stripes of ±ε (from independent pixels on a line) and sets whole windows
    to ε or −ε; ℓ2 moves the perturbation of one window into a bump in another. The features of a
    table have no neighbours: each query puts them on a line in an order of its own, so that a
    window is a random subset of them.

    Args:
        queries: Images scored a start, at most.
        share: Share of the image that a window covers at first; it shrinks over the queries.
        restarts: Random starts.
    """

    def __init__(self, *, queries: int = 1000, share: float = 0.8, restarts: int = 1) -> None:
        at_least("queries", queries, 1)
        at_least("restarts", restarts, 1)
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share:g}")
        self.queries, self.share, self.restarts = queries, share, restarts
        self.rank = margin

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, at most, and none differentiated."""
        return self.restarts * self.queries, 0

    def run(self, search: Search) -> None:
        """Search from every start."""
        for restart in range(self.restarts):
            self._search(search.only(~search.fooled) if restart else search)

    def _search(self, search: Search) -> None:
        features = search.x.shape[1]
        image = search.threat.image_shape(features)
        height, width = image or (1, features)
        linf = search.threat.norm == "linf"
        start = _stripes(search, height, width) if linf else _tiles(search, height, width)
        if image is None:
            start = start.gather(1, _order(search))
        points = search.project(search.x + start)
        losses = search.objective(search.visit(points), margin)
        for query in range(1, self.queries):
            standing = ~search.fooled
            if not bool(standing.all()):
                search, points, losses = search.only(standing), points[standing], losses[standing]
            if not len(search):
                return
            passed = sum(query * 10_000 / self.queries > at for at in _HALVINGS)
            size = self.share / 2**passed
            propose = _set_window if linf else _move_window
            if image is None:
                order = _order(search)
                x, line = search.x.gather(1, order), points.gather(1, order)
                line = propose(search, x, line, size, height, width)
                moved = points.scatter(1, order, line)
            else:
                moved = propose(search, search.x, points, size, height, width)
            moved = search.project(moved)
            now = search.objective(search.visit(moved), margin)
            better = now > losses
            points = torch.where(better[:, None], moved, points)
            losses = torch.where(better, now, losses)


def _order(search: Search) -> Tensor:
    """A random order of the features for each image, (n, features)."""
    return search.uniform(search.x.shape[1]).argsort(1)


def _stripes(search: Search, height: int, width: int) -> Tensor:
    return search.threat.eps * search.signs(1, width).expand(-1, height, -1).flatten(1)


def _set_window(
    search: Search, x: Tensor, points: Tensor, share: float, height: int, width: int
) -> Tensor:
    """One window of each image at ε or −ε from the clean one."""
    tall, wide = window(share, height, width)
    draws = search.uniform(3)
    down, right = _place(draws[:, :2], (height - tall, width - wide))
    inside = _inside(down, right, tall, wide, height, width).flatten(1)
    sign = torch.where(draws[:, 2:] < 0.5, -1.0, 1.0).to(points.dtype)
    return torch.where(inside, x + sign * search.threat.eps, points)


def _tiles(search: Search, height: int, width: int) -> Tensor:
    """Bumps side by side with random signs, five to a side, of length ε together."""
    tall, wide = max(height // 5, 1), max(width // 5, 1)
    rows, columns = torch.arange(height), torch.arange(width)
    shape = bump_pair(tall, wide).to(search.x)
    pattern = shape[rows[:, None] % tall, columns[None, :] % wide]
    down, right = -(-height // tall), -(-width // wide)
    signs = search.signs(down, right)[:, rows[:, None] // tall, columns[None, :] // wide]
    return search.threat.eps * _unit((signs * pattern).flatten(1))


def _move_window(
    search: Search, x: Tensor, points: Tensor, share: float, height: int, width: int
) -> Tensor:
    """Move the length of one window's perturbation, and what ε leaves, into a bump in another."""
    tall, wide = window(share, height, width)
    if height > 1:
        tall = wide = min(max(tall + (tall % 2 == 0), 3), height, width)
    else:
        wide = min(max(wide + (wide % 2 == 0), 3), width)
    draws, free = search.uniform(6), (height - tall, width - wide)
    down, right = _place(draws[:, :2], free)
    into = _inside(down, right, tall, wide, height, width)
    emptied = _inside(*_place(draws[:, 2:4], free), tall, wide, height, width)
    shape = bump_pair(tall, wide).to(points)
    row = (torch.arange(height)[None] - down[:, None]).clamp(0, tall - 1)[:, :, None]
    column = (torch.arange(width)[None] - right[:, None]).clamp(0, wide - 1)[:, None, :]
    bump = shape[row, column]
    if height > 1:
        bump = torch.where(draws[:, 5, None, None] < 0.5, bump, shape.T[row, column])
    sign = torch.where(draws[:, 4, None, None] < 0.5, -1.0, 1.0).to(points.dtype)
    into, emptied = into.flatten(1), emptied.flatten(1)
    bump = torch.where(into, (sign * bump).flatten(1), 0.0)

    delta = points - x
    unused = (search.threat.eps**2 - delta.square().sum(1, keepdim=True)).clamp_min(0)
    freed = torch.where(into | emptied, delta, 0.0).square().sum(1, keepdim=True)
    fresh = _unit(bump + _unit(torch.where(into, delta, 0.0))) * (unused + freed).sqrt()
    delta = torch.where(into, fresh, torch.where(emptied, 0.0, delta))
    return x + search.threat.eps * _unit(delta)


def bump_pair(tall: int, wide: int) -> Tensor:
    """Two bumps of opposite sign, of ℓ2 length 1 together (the paper's Sec. 3.3, η).

    One above the other; on a line, side by side.
    """
    if tall == 1:
        halves = torch.cat([_bump(1, wide // 2), -_bump(1, wide - wide // 2)], 1)
    else:
        halves = torch.cat([_bump(tall // 2, wide), -_bump(tall - tall // 2, wide)], 0)
    pair: Tensor = halves / torch.linalg.vector_norm(halves)
    return pair


def _bump(tall: int, wide: int) -> Tensor:
    """Rings around the middle: ring r has height Σ_{j ≥ r} 1 / (j + 1)²."""
    rings = max(tall, wide) // 2 + 1
    heights = (1 / torch.arange(1.0, rings + 1).square()).flip(0).cumsum(0).flip(0)
    down = (torch.arange(tall) - tall // 2).abs()[:, None]
    right = (torch.arange(wide) - wide // 2).abs()[None, :]
    return heights[torch.maximum(down, right)]


def _place(draws: Tensor, free: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A window's first row and column, (n,) each, where `free` are the largest."""
    down = (draws[:, 0] * (free[0] + 1)).long().clamp_max(free[0])
    return down, (draws[:, 1] * (free[1] + 1)).long().clamp_max(free[1])


def _inside(down: Tensor, right: Tensor, tall: int, wide: int, height: int, width: int) -> Tensor:
    """Which pixels (n, height, width) lie in each image's window."""
    row = torch.arange(height)[None] - down[:, None]
    column = torch.arange(width)[None] - right[:, None]
    return ((row >= 0) & (row < tall))[:, :, None] & ((column >= 0) & (column < wide))[:, None, :]


def _unit(delta: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(delta, dim=1, keepdim=True)
    unit: Tensor = delta / length.clamp_min(torch.finfo(delta.dtype).tiny)
    return unit
