"""A label against a rival class as one quadratic form, with its eigendecomposition."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.errors import DataError, Unsupported
from qbench_certificates.parameters import check_function, float64

from .rounding import margin_rounding

_STRUCTURE = "amplitude-circuit"


@dataclass(frozen=True)
class PairwiseMargin:
    """Label against rival: the rival is beaten, by more than the slack, where zᵀ form z > 0.

    Args:
        rows: Indices (m,) of the images with this label, of those that are classified correctly.
        form: A_label − A_rival − slack · 1, (features, features), float64.
        values: Its eigenvalues (features,), ascending.
        vectors: Its eigenvectors, in columns.
    """

    rows: Tensor
    form: Tensor
    values: Tensor
    vectors: Tensor


def quadratic_forms(model: nn.Module) -> Tensor:
    """The model's A_k (classes, features, features) in float64, with scores x̂ᵀA_k x̂.

    Raises:
        Unsupported: The model is no amplitude encoding circuit.
        WeightsError: Its weights are not finite.
    """
    float64(model, ("theta",), _STRUCTURE)
    exact = copy.deepcopy(model).double().cpu()
    read: Callable[[], Tensor] | None = getattr(exact, "quadratic_forms", None)
    if read is None:
        raise Unsupported(
            f"{type(model).__name__} has no quadratic_forms(): this certifier covers {_STRUCTURE!r}"
        )
    forms = read()
    check_function(model, lambda x: scores(forms, x), forms.shape[-1], _STRUCTURE)
    return forms


def scores(forms: Tensor, x: Tensor) -> Tensor:
    """x̂ᵀA_k x̂, (n, classes), of inputs x (n, features) in float64.

    Raises:
        DataError: An input is all zero.
    """
    squared = x.square().sum(1)
    if not bool((squared > 0).all()):
        index = int((squared > 0).logical_not().nonzero()[0])
        raise DataError(
            f"image {index} is all zero (or not a number): it has no amplitude encoding; "
            "leave it out or use another model"
        )
    return torch.stack([((x @ form) * x).sum(1) for form in forms], 1) / squared[:, None]


def pairwise_margins(
    model: nn.Module, x: Tensor, y: Tensor, margin: float | None = None
) -> tuple[Tensor, list[PairwiseMargin]]:
    """Which images are classified correctly, (n,), and every label against every rival.

    Args:
        model: An amplitude encoding circuit.
        x: Images (n, features), float64 on the CPU.
        y: Labels (n,), on the CPU.
        margin: By how much a rival must be beaten; by default, by what rounding can take.

    Raises:
        DataError: An image is all zero.
        Unsupported, WeightsError: As in `quadratic_forms`.
    """
    forms = quadratic_forms(model)
    clean = scores(forms, x)
    if margin is None:
        margin = margin_rounding(model)
    own = clean.gather(1, y[:, None])
    others = clean.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True)
    correct = (own - others)[:, 0] > margin
    found = []
    for a in range(len(forms)):
        for b in range(a + 1, len(forms)):
            values, vectors = torch.linalg.eigh(forms[a] - forms[b])
            for label, sign in ((a, 1.0), (b, -1.0)):
                rows = (correct & (y == label)).nonzero()[:, 0]
                ascending, columns = values, vectors
                if sign < 0:  # the same decomposition, read from its other end
                    ascending, columns = -values.flip(0), vectors.flip(1)
                form = sign * (forms[a] - forms[b])
                form = form - margin * torch.eye(len(form), dtype=form.dtype)
                found.append(PairwiseMargin(rows, form, ascending - margin, columns))
    return correct, found
