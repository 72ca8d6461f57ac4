"""`lipsdp-neuron` and `lipsdp-pair`: semidefinite Lipschitz bounds of a sine network.

The network is f(x) = Σ_g B_g φ_g(r_g·x): each *unit* g reads one direction r_g and its activation
φ_g moves no farther than its input. For `lipsdp-neuron` a unit is one of the 2n neurons sin z_j and
cos z_j (slopes in [-1, 1]), for `lipsdp-pair` it is the pair (sin z_j, cos z_j), which moves on a
circle by at most |z_j − z'_j| (the chord is shorter than the arc).

Theorem 1 of Fazlyab et al. 2019 (arXiv:1906.04893) with slopes in [-1, 1] has α + β = 0, so its
matrix inequality falls into two blocks. With 2T = diag(d) they read

    Aᵀ A ⪯ diag(d)    and    Σ_g d_g r_g r_gᵀ ⪯ ρ I,    with the bound L = √ρ,

where A puts the B_g side by side. A Schur complement turns the first into Σ_g B_g B_gᵀ / d_g ⪯ I,
a matrix of the size of the classes. So for *any* positive d, rescaled to meet the first block,

    L(d)² = λmax(Σ_g B_g B_gᵀ / d_g) · λmax(Σ_g d_g r_g r_gᵀ)

is valid, and it is the smallest ρ for that T. The solver only proposes d; the bound is computed
from d in float64, so that a loosely converged solver costs tightness, never validity.

The solver is Newton's method on the barrier of both blocks (Boyd & Vandenberghe 2004, Sec. 11.3):
its variables are the g multipliers and ρ, where a general solver's are the entries of the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.interfaces import LipschitzBound

from ..parameters import outward
from .network import SineNetwork

Array = NDArray[np.float64]

_GAP = 1e-8  # of ρ, which is at most 1 at the optimum
_ACCEPTED = 1e-4  # gap, where rounding ends the steps before
_SHARPER = 10.0  # from one barrier to the next
_CENTRED = 0.05  # Newton's decrement, squared, at which a barrier is left
_SHRINK = 0.5  # of a step that leaves the cone, or gains too little
_GAIN = 0.1  # of what the slope promises


class LipSDP:
    """Bounds ‖f(x) − f(x')‖₂ / ‖x − x'‖₂ for f(x) = S sin(Wx) + C cos(Wx).

    The scope is `"vector"`; a margin changes by at most √2 times the bound.

    Args:
        paired: One multiplier for each frequency (`lipsdp-pair`) instead of one for each neuron.
        max_iterations: Limit of the solver's steps.
    """

    def __init__(self, paired: bool = False, max_iterations: int = 200) -> None:
        self.paired = paired
        self.max_iterations = max_iterations

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        """The bound of a model with `frequencies`, `sine` and `cosine` weights.

        Raises:
            Unsupported: The model is not such a network.
            WeightsError: A parameter has a value that is not finite.
            VerificationError: The solver does not converge.
        """
        network = SineNetwork.read(model)
        w, s, c = network.w, network.s, network.c
        rows, blocks = units(w.numpy(), s.numpy(), c.numpy(), self.paired)
        # A unit that reads nothing or is not read contributes nothing, with any multiplier.
        used = _norms(rows) * _norms(blocks) > 0
        rows, blocks = rows[used], blocks[used]
        if not len(rows):
            return LipschitzBound(lipschitz=0.0, scope="vector", detail="constant")
        multipliers = solve(rows, blocks, self.max_iterations)
        plain = np.ones(len(rows))
        bound = min(scaled_product(rows, blocks, d) for d in (multipliers, plain))
        return LipschitzBound(lipschitz=outward(bound), scope="vector")


def units(w: Array, s: Array, c: Array, paired: bool) -> tuple[Array, Array]:
    """The units of S sin(Wx) + C cos(Wx): directions (g, features) and blocks (g, classes, width).

    Args:
        w: Frequencies (n, features).
        s, c: Read-out (classes, n) of the sines and cosines.
        paired: Whether sine and cosine of one frequency form one unit of width 2.
    """
    if paired:
        return w, np.stack([s.T, c.T], axis=2)
    return np.vstack([w, w]), np.hstack([s, c]).T[:, :, None]


def scaled_product(rows: Array, blocks: Array, d: Array) -> float:
    """L(d), a valid bound for any multipliers d > 0 (g,): see the module's docstring.

    With d = 1 it is ‖[S C]‖ ‖W‖ for pairs and √2 ‖[S C]‖ ‖W‖ for neurons.
    """
    root = np.sqrt(d)
    read_out = np.hstack(list(blocks / root[:, None, None]))
    return float(np.linalg.norm(read_out, 2) * np.linalg.norm(rows * root[:, None], 2))


def solve(rows: Array, blocks: Array, max_iterations: int) -> Array:
    """Multipliers d (g,) that minimise L(d).

    They are sought relative to d_g = |B_g| / |r_g|, with which every unit weighs the same in both
    blocks, scaled so that d = 1 is feasible and ρ lies in (0, 1].

    Args:
        rows: Directions (g, features), none of them zero.
        blocks: Read-out (g, classes, width), none of them zero.
        max_iterations: Limit of Newton's steps.

    Raises:
        VerificationError: The solver does not converge.
    """
    balance = _norms(blocks) / _norms(rows)
    parts = blocks / np.sqrt(balance)[:, None, None]
    parts /= np.linalg.norm(np.hstack(list(parts)), 2)
    # Only inner products of the directions matter: in a basis of their span they are short.
    left, singular, _ = np.linalg.svd(rows * np.sqrt(balance)[:, None], full_matrices=False)
    barrier = _Barrier(left * singular / singular[0], parts @ parts.mT)
    # Strictly inside both blocks; the sharpness starts where the first barrier's centre is near.
    variables, sharpness = np.full(len(rows) + 1, 2.0), 1.0
    variables[-1] = 4.0
    centred, gap = variables, np.inf
    for _ in range(max_iterations):
        try:
            gradient, hessian = barrier.derivatives(variables, sharpness)
            step = -cho_solve(cho_factor(hessian), gradient)
        except (LinAlgError, ValueError):  # singular, or not finite, by rounding
            break
        decrement = -float(gradient @ step)
        if decrement < _CENTRED:
            centred, gap = variables, barrier.size / sharpness
            if gap < _GAP:
                break
            sharpness *= _SHARPER
            continue
        length = barrier.length(variables, step, sharpness, decrement)
        if length == 0:
            break
        variables = variables + length * step
    if gap > _ACCEPTED:
        raise VerificationError(
            f"LipSDP: no optimum within {max_iterations} Newton steps, so there is no bound; "
            "raise max_iterations or check the model's weights"
        )
    multipliers: Array = balance * centred[:-1]
    return multipliers


@dataclass(frozen=True)
class _Barrier:
    """sharpness · ρ − log det(ρ1 − Σ d_g r_g r_gᵀ) − log det(1 − Σ P_g / d_g), in (d, ρ): convex.

    At its minimum ρ exceeds the least possible one by at most size / sharpness.

    Args:
        rows: r_g (g, rank).
        products: P_g = B_g B_gᵀ (g, classes, classes).
    """

    rows: Array
    products: Array

    @property
    def size(self) -> int:
        """The number of rows of both blocks."""
        return len(self.rows[0]) + len(self.products[0])

    def blocks(self, variables: Array) -> tuple[Array, Array]:
        """Both matrices, at (d, ρ)."""
        d, rho = variables[:-1], variables[-1]
        read = rho * np.eye(self.rows.shape[1]) - (self.rows.T * d) @ self.rows
        read_out = np.eye(self.products.shape[1]) - np.tensordot(1 / d, self.products, 1)
        return read, read_out

    def derivatives(self, variables: Array, sharpness: float) -> tuple[Array, Array]:
        """Gradient and Hessian."""
        d = variables[:-1]
        read, read_out = (np.linalg.inv(block) for block in self.blocks(variables))
        turned = self.rows @ read
        inner = turned @ self.rows.T
        pull = read_out @ self.products
        traces = np.trace(pull, axis1=1, axis2=2)
        gradient = np.append(np.diag(inner) - traces / d**2, sharpness - np.trace(read))
        hessian = np.empty((len(variables), len(variables)))
        hessian[:-1, :-1] = inner**2
        hessian[:-1, :-1] += np.einsum("gab,hba->gh", pull, pull) / np.outer(d, d) ** 2
        hessian[:-1, :-1] += np.diag(2 * traces / d**3)
        hessian[:-1, -1] = hessian[-1, :-1] = -(turned**2).sum(1)
        hessian[-1, -1] = (read**2).sum()
        return gradient, hessian

    def length(self, variables: Array, step: Array, sharpness: float, decrement: float) -> float:
        """A step, at most 1, that stays inside and gains enough; 0 where there is none."""
        before = self._logarithms(variables)
        length = 1.0
        while length > 1e-10:
            moved = variables + length * step
            if (moved > 0).all():
                gain = self._logarithms(moved) - before - sharpness * length * step[-1]
                if gain >= _GAIN * length * decrement:
                    return length
            length *= _SHRINK
        return 0.0

    def _logarithms(self, variables: Array) -> float:
        """log det of both blocks, −∞ outside."""
        total = 0.0
        for block in self.blocks(variables):
            try:
                total += 2 * float(np.log(np.diag(np.linalg.cholesky(block))).sum())
            except LinAlgError:
                return -np.inf
        return total


def _norms(units: Array) -> Array:
    """Frobenius norm of each unit's part, (g,)."""
    return np.asarray(np.linalg.norm(units.reshape(len(units), -1), axis=1), np.float64)
