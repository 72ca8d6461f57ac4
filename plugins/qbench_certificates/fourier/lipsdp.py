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
"""

from __future__ import annotations

import warnings
from typing import Any

import cvxpy
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.interfaces import LipschitzBound

from ..parameters import outward
from .network import SineNetwork

Array = NDArray[np.float64]

cp: Any = cvxpy  # type checkers do not see its functions

_SOLVER = "CLARABEL"  # an interior-point method: the same answer on every run
# The problem is already scaled: the solver's own equilibration makes it fail on uneven weights.
_SETTINGS = {"max_threads": 1, "equilibrate_enable": False}
_FLAT = 1e-6  # relative size of singular values below which a direction counts as flat


class LipSDP:
    """Bounds ‖f(x) − f(x')‖₂ / ‖x − x'‖₂ for f(x) = S sin(Wx) + C cos(Wx).

    The scope is `"vector"`; a margin changes by at most √2 times the bound.

    Args:
        paired: One multiplier for each frequency (`lipsdp-pair`) instead of one for each neuron.
        max_iterations: Limit of the solver.
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
        multipliers, status = solve(rows, blocks, self.max_iterations)
        plain = np.ones(len(rows))
        bound = min(scaled_product(rows, blocks, d) for d in (multipliers, plain))
        return LipschitzBound(
            lipschitz=outward(bound), scope="vector", detail=f"{_SOLVER}: {status}"
        )


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


def solve(rows: Array, blocks: Array, max_iterations: int) -> tuple[Array, str]:
    """Multipliers d (g,) that minimise L(d), and the solver's status.

    In the variables d_g and 1 / d_g both blocks are linear, and small: one of the size of the
    classes, one of the rank of the directions. They are taken relative to d_g = |B_g| / |r_g|, with
    which every unit weighs the same in both, so that u = v = 1 is feasible and ρ lies in (0, 1].

    Args:
        rows: Directions (g, features), none of them zero.
        blocks: Read-out (g, classes, width), none of them zero.
        max_iterations: Limit of the solver.

    Raises:
        VerificationError: The solver does not converge.
    """
    balance = _norms(blocks) / _norms(rows)
    read_out = np.hstack(list(blocks / np.sqrt(balance)[:, None, None]))
    read_out /= np.linalg.norm(read_out, 2)
    # Only inner products of the directions matter: in a basis of their span they are short, and
    # the solver an order faster. Leaving out flat ones moves the optimum by no more than rounding.
    left, singular, _ = np.linalg.svd(rows * np.sqrt(balance)[:, None], full_matrices=False)
    directions = (left * singular / singular[0])[:, singular > _FLAT * singular[0]].T

    u, v, rho = cp.Variable(len(rows)), cp.Variable(len(rows), pos=True), cp.Variable()
    columns = np.repeat(np.arange(len(rows)), blocks.shape[2])
    problem = cp.Problem(
        cp.Minimize(rho),
        [
            np.eye(len(read_out)) - read_out @ cp.diag(v[columns]) @ read_out.T >> 0,
            rho * np.eye(len(directions)) - directions @ cp.diag(u) @ directions.T >> 0,
            u >= cp.inv_pos(v),
        ],
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inaccurate optimum is still a valid proposal
            problem.solve(solver=_SOLVER, max_iter=max_iterations, **_SETTINGS)
        status = str(problem.status)
    except cp.error.SolverError:
        status = "solver_error"
    found: Array = np.full(len(rows), np.nan) if v.value is None else v.value
    if (
        status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
        or not 0 < found.min() <= found.max() < np.inf
    ):
        raise VerificationError(
            f"LipSDP: {_SOLVER} ended with status {status!r}, so there is no bound; "
            "raise max_iterations or check the model's weights"
        )
    return balance / found, status


def _norms(units: Array) -> Array:
    """Frobenius norm of each unit's part, (g,)."""
    return np.asarray(np.linalg.norm(units.reshape(len(units), -1), axis=1), np.float64)
