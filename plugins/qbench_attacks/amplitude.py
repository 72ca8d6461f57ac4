"""The exact ℓ2 minimum attack on models that are quadratic forms of the normalised input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported
from qbench.evaluation.crafting import CountedModel
from qbench_attacks.base import Search, at_least
from qbench_attacks.minimum import MinimumNormAttack, Nearest

_BISECTIONS = 200


class AmplitudeExact(MinimumNormAttack):
    """The smallest ℓ2 perturbation that makes any other class win, from one eigendecomposition.

    The model's scores are x̂ᵀA_k x̂ with x̂ = x/‖x‖, so class c beats y where zᵀ(A_y − A_c)z ≤ 0: a
    quadratic program with one constraint, which strong duality solves exactly (see
    `shortest_to_cone`). Without a pixel box, no ℓ2 perturbation shorter than the one found
    misclassifies, up to the overshoots. With a box it is no longer exact: the points are clipped to
    it, and one is kept only if it still is adversarial.

    Args:
        overshoots: Relative lengths added, in turn, until the model (in its own precision) agrees
            that the label has changed.
    """

    def __init__(
        self, *, overshoots: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
    ) -> None:
        at_least("the number of overshoots", len(overshoots), 1)
        self.overshoots = overshoots

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, for four classes."""
        return 2 + 3 * len(self.overshoots), 0

    def minimise(self, nearest: Nearest) -> None:
        """Solve for every other class and try what comes out.

        Raises:
            Unsupported: The model is no set of quadratic forms.
        """
        search = nearest.search
        forms = _forms(search.model).detach().double()
        for target in nearest.targets.unbind(1):
            delta = _towards(search, forms, target)
            for overshoot in self.overshoots:
                left = (~nearest.found | (nearest.length > delta.norm(dim=1))).nonzero()[:, 0]
                left = left[torch.isfinite(delta[left]).all(1)]
                if not len(left):
                    break
                points = search.x[left].double() + (1 + overshoot) * delta[left]
                good = nearest.attempt_some(left, search.clip(points.to(search.x.dtype)))
                delta[left[good]] = torch.inf  # done with this class


def _towards(search: Search, forms: Tensor, target: Tensor) -> Tensor:
    """The shortest perturbations (n, features) to where each image's target ties, in float64."""
    delta = torch.full(search.x.shape, torch.inf, dtype=torch.float64, device=search.x.device)
    for y in range(len(forms)):
        for c in range(len(forms)):
            rows = ((search.y == y) & (target == c)).nonzero()[:, 0]
            if len(rows):
                delta[rows] = shortest_to_cone(search.x[rows].double(), forms[y] - forms[c])
    return delta


def shortest_to_cone(x: Tensor, form: Tensor) -> Tensor:
    """The shortest δ with (x + δ)ᵀ form (x + δ) ≤ 0, (n, features), in float64.

    Infinite where the form is positive (semi)definite, so that no x + δ ≠ 0 gets there, and zero
    where x is there already. In the eigenbasis, z_i = x_i / (1 + μλ_i) with the one root μ in
    (0, −1/λ_min) of the decreasing Σ λ_i x_i² / (1 + μλ_i)². In the hard case, x has nothing along
    the lowest eigenvectors and the sum stays positive up to the end of the interval: then μ is that
    end, and z is completed along the lowest eigenvector.

    Args:
        x: (n, features), float64.
        form: Symmetric (features, features), float64.
    """
    values, vectors = torch.linalg.eigh(form)
    lowest = values[0]
    if lowest >= 0:
        inside = torch.einsum("nf,fg,ng->n", x, form, x) <= 0
        return torch.where(inside[:, None], 0.0, torch.full_like(x, torch.inf))
    along = x @ vectors
    ratio = values / lowest  # 1 for the lowest, and nowhere larger
    gap = (lowest - values) / lowest  # 1 − ratio without cancellation
    # With t = 1 + μ λ_min in (0, 1), 1 + μλ_i = gap_i + t·ratio_i. Bisecting t keeps all digits of
    # a root next to the end of the interval.
    low, high = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    for _ in range(_BISECTIONS):
        t = (low + high) / 2
        beyond = (values * (along / (gap + t * ratio)).square()).sum(1, keepdim=True) > 0
        low, high = torch.where(beyond, low, t), torch.where(beyond, t, high)
    z = along / (gap + high * ratio)
    left_over = (values * z.square()).sum(1).clamp_min(0)  # positive in the hard case alone
    first = torch.where(z[:, 0] < 0, -1.0, 1.0) * (z[:, 0].square() - left_over / lowest).sqrt()
    z = torch.cat([first[:, None], z[:, 1:]], 1)
    delta: Tensor = (z - along) @ vectors.T
    return delta


def _forms(model: nn.Module) -> Tensor:
    inner = model.model if isinstance(model, CountedModel) else model
    forms: Callable[[], Tensor] | None = getattr(inner, "quadratic_forms", None)
    if forms is None:
        raise Unsupported(
            f"amplitude-exact needs a model with quadratic_forms(), which {type(inner).__name__} "
            "does not have; use ddn or fab"
        )
    return forms()
