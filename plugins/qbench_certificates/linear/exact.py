"""`linear-exact`: the distance to the nearest hyperplane between two classes, within the box.

A margin is m(x + δ) = m(x) + g·δ with g = w_y − w_c. Pixel k moves against g_k, in ℓ2 in proportion
to it, until it has used up its room r_k to the wall of the box. So for the smallest δ that takes
D = m(x) from the margin there is one t with

    ℓ∞:  Σ |g_k| min(t, r_k) = D,         ‖δ‖∞ = t
    ℓ2:  Σ g_k² min(t, r_k/|g_k|) = D,    δ_k = −g_k min(t, r_k/|g_k|).

The second is the solution of the quadratic programme by its conditions of optimality; both sums are
increasing and piecewise linear in t.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from qbench.errors import DataError, Unsupported
from qbench.evaluation.crafting import TOLERANCE
from qbench.interfaces import Radii
from qbench.specs import Norm, Perturbations

from ..parameters import check_function, float64
from ..rounding import Precision

_STRUCTURE = "affine"
_ROUNDING = 1e-12


class LinearExact:
    """Radii of scores Wx + b: the distance at which the first other class draws level."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """The radius of each image, up to the largest budget; see `interfaces.RadiusCertifier`.

        Raises:
            Unsupported: The model is not linear.
            WeightsError: A parameter has a value that is not finite.
        """
        x, y = x.detach().double().cpu(), y.cpu()
        weight, bias = read(model, x.shape[1])
        scores = x @ weight.mT + bias
        rounding = score_rounding(model, weight, bias, x, perturbations)
        fall = scores.gather(1, y[:, None]) - scores
        fall -= rounding.gather(1, y[:, None]) + rounding
        radius = torch.full((len(x),), perturbations.eps[-1], dtype=torch.float64)
        for other in range(len(weight)):
            rows = (y != other).nonzero()[:, 0]
            found = distance(
                weight[y[rows]] - weight[other],
                x[rows],
                fall[rows, other],
                perturbations.norm,
                perturbations.box,
            )
            radius[rows] = torch.minimum(radius[rows], found)
        return Radii(radius * (1 - _ROUNDING) / (1 + TOLERANCE))


def read(model: nn.Module, features: int) -> tuple[Tensor, Tensor]:
    """W (classes, features) and b (classes,) in float64, from the scores at 0 and at unit vectors.

    Raises:
        Unsupported: Scores are not Wx + b.
        WeightsError: A parameter has a value that is not finite.
    """
    float64(model, (), _STRUCTURE)
    exact = copy.deepcopy(model).double().cpu()
    try:
        with torch.no_grad():
            bias = exact(torch.zeros(1, features, dtype=torch.float64))[0].double()
            weight = (exact(torch.eye(features, dtype=torch.float64)).double() - bias).mT
    except DataError as error:
        raise Unsupported(f"{type(model).__name__} has no scores everywhere: {error}") from None
    check_function(model, lambda at: at @ weight.mT + bias, features, _STRUCTURE)
    return weight, bias


def score_rounding(
    model: nn.Module, weight: Tensor, bias: Tensor, x: Tensor, perturbations: Perturbations
) -> Tensor:
    """By how much each score can be off, (n, classes), anywhere in reach of the largest budget.

    A score is a sum of as many products as there are features, and the bias.
    """
    largest = x.abs() + perturbations.eps[-1]
    if perturbations.box is not None:  # a pixel outside may stay where it is
        largest = largest.minimum(x.abs().clamp(min=max(map(abs, perturbations.box))))
    magnitudes = largest @ weight.abs().mT + bias.abs()
    return Precision.of(model).rounded(x.shape[1] + 1, magnitudes)


def distance(
    g: Tensor, x: Tensor, fall: Tensor, norm: Norm, box: tuple[float, float] | None
) -> Tensor:
    """The least norm of δ with g·δ ≤ −fall and x + δ in the box, (n,).

    Infinity where there is none, 0 where `fall` is not positive.

    Args:
        g: Gradients of the margins (n, features).
        x: Images (n, features).
        fall: By how much the margins must fall, (n,).
        norm, box: See `Perturbations`.
    """
    room = torch.full_like(x, torch.inf)
    if box is not None:
        room = torch.where(g > 0, x - box[0], box[1] - x).clamp(min=0)
    rate, until = (g.abs(), room) if norm == "linf" else (g.square(), room / g.abs())
    until = torch.where(g == 0, torch.inf, until)
    t = _time(rate, until, fall)
    if norm == "linf":
        return t
    step = (g * torch.minimum(until, t[:, None])).nan_to_num(nan=0.0)
    return torch.where(t.isinf(), t, torch.linalg.vector_norm(step, dim=1))


def _time(rate: Tensor, until: Tensor, fall: Tensor) -> Tensor:
    """The t with Σ rate · min(t, until) = fall, (n,); 0 if `fall` is not positive, or infinity."""
    until, order = until.sort(1)
    rate = rate.gather(1, order)
    ended = torch.where(until.isinf(), 0, rate * until).cumsum(1)  # of pixels that have stopped
    moving = rate.flip(1).cumsum(1).flip(1)  # rates of pixels that have not, each with itself
    before = torch.nn.functional.pad(ended[:, :-1], (1, 0))
    candidates = (fall[:, None] - before) / moving
    reached = candidates <= until  # on the first segment that gets there; later ones lie above it
    first = reached.int().argmax(1, keepdim=True)
    t = candidates.gather(1, first)[:, 0].clamp(min=0)
    return torch.where(reached.any(1), t, torch.inf)
