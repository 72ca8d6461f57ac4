"""`fourier-linear`: a line under every cosine, and the sum of the lines minimised over the region.

A margin is m(x + δ) = Σ_i g_i(z_i) with g_i(t) = R_i cos(t − φ_i) and z = W(x + δ). Over the region
each z_i stays in an interval [l_i, u_i]. For *any* slopes s the line with the largest intercept

    b_i(s_i) = min {g_i(t) − s_i t : l_i ≤ t ≤ u_i}

lies below g_i on the interval, so that

    m(x + δ) ≥ D(s) = Σ_i b_i(s_i) + s·Wx + min_δ (Wᵀs)·δ.

Both minima have closed forms. D is the Lagrangian dual of the relaxation that replaces each g_i by
its convex envelope on the interval: concave, and as good as that relaxation at the best s. Slopes
start at the better of the tangent in the middle and the chord, and climb by Polyak's steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qbench.interfaces import Radii
from qbench.specs import Perturbations

from ..pairwise import MarginQueries, margin_radii
from ..region import Region
from .network import SineNetwork, Waves
from .rounding import margin_rounding

_AIM = 0.05  # the bound that Polyak's steps aim at, above what must be exceeded
_TINY = 1e-12


class Linear:
    """Radii from linear bounds, optimised over the slopes.

    Source: Zhang et al. 2018 (arXiv:1811.00866) for linear bounds of general activations, Xu et al.
    2021 (arXiv:2011.13824) for optimising them; intervals and intercepts are exact here.

    Args:
        steps: Of the slopes' ascent, for every question.
    """

    def __init__(self, steps: int = 20) -> None:
        self.steps = steps

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
            best = bound(network.w, waves, points, region, span, asked.least, self.steps)
            return best > asked.least

        rounding = margin_rounding(model, network, x, perturbations)
        return Radii(margin_radii(network.scores(x), y, perturbations.eps, rounding, proves))


def bound(
    w: Tensor,
    waves: Waves,
    x: Tensor,
    region: Region,
    span: tuple[Tensor, Tensor],
    enough: Tensor,
    steps: int,
) -> Tensor:
    """A lower bound on each margin over its region, (m,).

    Args:
        w: Frequencies (neurons, features).
        waves: The margins' cosines.
        x: Images (m, features).
        region: Their perturbations.
        span: Bounds below and above on Wδ, (m, neurons) each.
        enough: Bounds (m,) above which none better is sought.
        steps: Of the slopes' ascent.
    """
    z = x @ w.mT
    low, high = z + span[0], z + span[1]
    s = starting_slopes(waves, low, high)
    best = torch.full_like(enough, -torch.inf)
    left = torch.arange(len(x))
    for step in range(steps + 1):
        intercept, touched = lowest(waves[left], s, low[left], high[left])
        drop, delta = region[left].largest(-(s @ w))
        value = intercept.sum(1) + (s * z[left]).sum(1) - drop
        best[left] = torch.maximum(best[left], value)
        going = best[left] <= enough[left]
        if step == steps or not bool(going.any()):
            break
        left, s = left[going], s[going]
        climb = (z[left] + delta[going] @ w.mT) - touched[going]
        wanted = enough[left] + _AIM - value[going]
        s = s + (wanted / climb.square().sum(1).clamp(min=_TINY))[:, None] * climb
    return best


def starting_slopes(waves: Waves, low: Tensor, high: Tensor) -> Tensor:
    """Tangents in the middle of [low, high], or chords where these are higher there."""
    middle = (low + high) / 2
    tangent = waves.slope(middle)
    chord = (waves.value(high) - waves.value(low)) / (high - low).clamp(min=_TINY)
    heights = [lowest(waves, s, low, high)[0] + s * middle for s in (tangent, chord)]
    return torch.where(heights[0] > heights[1], tangent, chord)


def lowest(waves: Waves, s: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The least R cos(t − φ) − st over low ≤ t ≤ high, and where it is taken, (m, neurons) each.

    It lies at an end, or where the derivative vanishes on a convex arc, −R sin(t − φ) = s with
    cos(t − φ) < 0. Of these points, 2π apart, the last is lowest when s > 0, the first when s < 0.

    Args:
        waves: The cosines.
        s: Slopes (m, neurons).
        low, high: The intervals (m, neurons), low ≤ high.
    """
    ratio = (s / waves.amplitude.clamp(min=_TINY)).clamp(-1, 1)
    base = waves.phase + math.pi + torch.asin(ratio)
    turn = 2 * math.pi
    last = base + turn * torch.floor((high - base) / turn)
    first = base + turn * torch.ceil((low - base) / turn)
    points = torch.stack([low, high, last.clamp(low, high), first.clamp(low, high)])
    values = waves.amplitude * torch.cos(points - waves.phase) - s * points
    value, index = values.min(0)
    return value, points.gather(0, index[None])[0]
