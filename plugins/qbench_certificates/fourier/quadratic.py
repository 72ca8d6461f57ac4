"""`fourier-quadratic`: a parabola under every cosine, and the sum of them bounded by duality.

A margin is m(x + δ) = Σ_i g_i(z_i), z = W(x + δ), and z_i stays in an interval. Below g_i lies the
parabola that touches it at t_i, g_i(t_i) + g_i'(t_i)(t − t_i) − q_i (t − t_i)²/2, for the q_i ≥ 0
of `curvature`. Their sum is a constant plus a·δ − ½ δᵀMδ with M = Wᵀ diag(q) W: lines see the
neurons one at a time, M knows that no δ moves all of them to the end of their intervals. What it
can reach over the region is bounded in `shor`, for any touching points t.

Touching the cosines at the relaxation's own minimiser, again and again, closes the gap there, and
most of what is left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, margin_radii
from ..region import Region
from . import linear
from .network import SineNetwork, Waves
from .rounding import margin_rounding
from .shor import over_ball, over_box

_GRID = 33  # points of an interval at which a parabola's curvature is read off
_MOVE = 0.7  # how far the touching points move to the minimiser


class Quadratic:
    """Radii from parabolas and semidefinite duality; at least those of `fourier-linear`.

    Source: Shor 1987 and Nesterov 1998 for the relaxation, Wang et al. 2017 (arXiv:1706.00476) for
    the mixing method, Pólik and Terlaky 2007 for the S-lemma; applied to sine networks here.

    Args:
        rounds: How often the parabolas are moved.
        linear_steps: Of the linear bound that is tried first.
    """

    def __init__(self, rounds: int = 6, linear_steps: int = 5) -> None:
        self.rounds, self.linear_steps = rounds, linear_steps

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radii of images x (n, features) with labels y (n,).

        Raises:
            Unsupported: The model is not a sine network.
            WeightsError: A parameter has a value that is not finite.
        """
        network, x = SineNetwork.read(model), x.double()

        def proves(asked: MarginQueries) -> Tensor:
            points = x[asked.image]
            region = Region.of(points, perturbations, asked.radius)
            span = region.interval(network.w)
            waves = network.waves(asked.label, asked.other)
            least = asked.least
            best = linear.bound(network.w, waves, points, region, span, least, self.linear_steps)
            left = (best <= least).nonzero()[:, 0]
            best[left] = bound(
                network.w,
                waves[left],
                points[left],
                region[left],
                (span[0][left], span[1][left]),
                least[left],
                self.rounds,
            )
            return best > least

        rounding = margin_rounding(model, network, x, perturbations)
        return Radii(margin_radii(network.scores(x), y, perturbations.eps, rounding, proves))


def bound(
    w: Tensor,
    waves: Waves,
    x: Tensor,
    region: Region,
    span: tuple[Tensor, Tensor],
    enough: Tensor,
    rounds: int,
) -> Tensor:
    """A lower bound on each margin over its region, (m,); −∞ where a point refutes `enough`.

    Args:
        w: Frequencies (neurons, features).
        waves: The margins' cosines.
        x: Images (m, features).
        region: Their perturbations.
        span: Bounds below and above on Wδ, (m, neurons) each.
        enough: Bounds (m,) above which none better is sought.
        rounds: How often the parabolas are moved.
    """
    best = torch.full_like(enough, -torch.inf)
    left = torch.arange(len(x))
    if not len(left):
        return best
    ball = not bool(torch.isinf(region.radius).any())
    z = x @ w.mT
    low, high = z + span[0], z + span[1]
    touch = z if ball else (low + high) / 2
    state: Tensor | None = None
    for _ in range(rounds):
        part, some = region[left], waves[left]
        q = curvature(some, touch, low[left], high[left])
        constant, lean = expanded(some, touch, q, z[left])
        solve = over_ball if ball else over_box
        drop, delta, state = solve(w, q, lean, part, constant - enough[left], state)
        best[left] = torch.maximum(best[left], constant - drop)
        refuted = some.value(z[left] + delta @ w.mT).sum(1) <= enough[left]
        going = (best[left] <= enough[left]) & ~refuted
        best[left[refuted]] = -torch.inf
        if not bool(going.any()):
            break
        goal = (z[left] + delta @ w.mT).clamp(low[left], high[left])
        touch = (touch + _MOVE * (goal - touch))[going]
        left, state = left[going], state[going]
    return best


def expanded(waves: Waves, touch: Tensor, q: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the parabolas at z + d: its constant (m,) and its slopes in d (m, neurons).

    What is left is −Σ_i q_i d_i²/2.
    """
    offset, slope = z - touch, waves.slope(touch)
    constant = waves.value(touch) + slope * offset - q / 2 * offset**2
    return constant.sum(1), slope - q * offset


def curvature(waves: Waves, touch: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """q ≥ 0 with g(t) ≥ g(t₀) + g'(t₀)(t − t₀) − q (t − t₀)²/2 for low ≤ t ≤ high, (m, neurons).

    Taylor's theorem writes the least q at a distance d as the mean of −g'' = g over the way,
    ∫₀¹ 2(1 − θ) g(t₀ + θd) dθ. As a function of d it has slope at most R/3, so that its maximum on
    a grid, raised by half a spacing of that slope, covers the interval.

    Args:
        waves: The cosines g.
        touch: t₀ in [low, high], (m, neurons).
        low, high: The intervals.
    """
    share = torch.linspace(0, 1, _GRID, dtype=touch.dtype)
    d = (low - touch)[..., None] + (high - low)[..., None] * share
    near = d.abs() < 1e-2
    safe = torch.where(near, 1.0, d)
    even = torch.where(near, 1 - d**2 / 12, 2 * (1 - torch.cos(safe)) / safe**2)
    odd = torch.where(near, d / 3, 2 * (safe - torch.sin(safe)) / safe**2)
    start = (touch - waves.phase)[..., None]
    mean = torch.cos(start) * even - torch.sin(start) * odd
    spacing = (high - low) / (_GRID - 1)
    return waves.amplitude * (mean.amax(-1) + spacing / 6 + 1e-6).clamp(min=0)
