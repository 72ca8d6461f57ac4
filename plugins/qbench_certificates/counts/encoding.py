r"""How far an image's perturbation can turn what a noisy circuit makes of it.

**The claim.** Let ρ(x) be the state that a device has before its outcomes are read, or the
distribution of the outcomes. Then the Bures angle A(ρ, ρ′) = arccos √F(ρ, ρ′) between ρ(x) and
ρ(x + δ) is at most an angle that depends on the encoding alone, whatever the noise, as long as the
noise does not depend on x.

**Why.** A is a metric, and no channel makes it larger (fidelity is monotone), also where the
channel acts on a part of the system.

*Re-uploading.* A device runs 𝓒_J ∘ 𝓖_J(α_J) ∘ 𝓒_{J−1} ∘ … ∘ 𝓖_1(α_1) ∘ 𝓒_0 on any start state.
𝓖_j(α) turns a qubit by α about a Pauli axis σ_j, exp(−iασ_j/2), and reads x by α_j = θ_j + R_j·x.
The 𝓒_j are everything else: gates that do not read x, relaxation, depolarising, crosstalk, readout
errors. They may be any channels, on all qubits, also between the rotations of one gate. Change the
angles one by one, the last first (a hybrid argument): two neighbours of that chain differ in one
rotation alone, and are at an angle of at most |t_j|/2 for t_j = R_j·δ, since exp(−it_jσ_j/2) has
the eigenvalues exp(±it_j/2) and so no vector, and no purification of a mixed state, turns further.
The triangle inequality gives

    A(ρ(x), ρ(x + δ))  ≤  ½ Σ_j |t_j|.

The same chain in trace norm gives ½‖ρ(x) − ρ(x + δ)‖₁ ≤ Σ_j sin(|t_j|/2), for ½‖𝓖(α) − 𝓖(α + t)‖ in
the diamond norm is sin(|t|/2); the angle is never worse, ½‖·‖₁ ≤ sin A, and goes on to fidelity.

*Amplitude encoding.* The states of x and x + δ are pure, and their angle is that of the two
vectors: at most arcsin(‖δ‖₂/‖x‖₂). Everything after is a channel that reads nothing.

**What is assumed.** The noise does not depend on the angles. Relaxation, dephasing and depolarising
do not, nor do errors of the pulses whose phase an RZ by frame change shifts: they turn along with
the frame. Over-rotation by a share of the angle does (it multiplies R_j by what is not known), and
so does a compiler that makes another circuit of every image: qbench compiles once, with parameters.
A state preparation with noise between gates whose angles depend on x is not 'a pure state and then
a channel': amplitude encoding is certified only where the engine itself prepares the state.

**The sum over δ.** Σ_j |t_j| is convex in δ. In ℓ∞, with |δ_k| ≤ h_k, its largest value is
max_s Σ_k |(sR)_k| h_k over the signs s of the rotations; in ℓ2, with ‖δ‖ ≤ r, it is r max_s ‖sR‖₂.
Rotations that share no features choose their signs by themselves, so both are exact, group by
group, where groups are small: three rotations on every circuit of the zoo. In larger groups
Σ_j|R_j| stands for sR, which is never less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit
from qbench.engines.modules import engine_of, on_engine
from qbench.errors import Unsupported
from qbench_engines.statevector import StatevectorEngine

from ..amplitude.pairwise_margins import quadratic_forms
from ..amplitude.rounding import usable_radius
from ..reupload.gates import ReUploadGates, read_gates
from ..reupload.region import Region
from ..reupload.rounding import angle_rounding
from ..rounding import Precision

# From regions (n) to how far their inputs are from the centre at most, as Bures angles (n,).
Turn = Callable[[Region], Tensor]

_MOST = 8  # rotations in a group whose signs are all tried
RIGHT_ANGLE = math.pi / 2


def turn_of(model: nn.Module) -> Turn:
    """How far a model's engine can turn what it computes, by its encoding.

    Raises:
        Unsupported: The model is no re-uploading or amplitude encoding circuit, or its engine
            prepares amplitudes by gates that have noise.
        WeightsError: A parameter has a value that is not finite.
    """
    engine = engine_of(model)
    if engine is None or not isinstance(getattr(model, "circuit", None), Circuit):
        raise Unsupported(f"{type(model).__name__} runs no circuit whose outcomes could be counted")
    if "w" in dict(model.named_parameters()):
        with on_engine(model, StatevectorEngine()):
            gates = read_gates(model)
            return reupload_turn(gates, angle_rounding(model, gates))
    if hasattr(model, "quadratic_forms"):
        # Shots are drawn from what an engine gives without them.
        if not getattr(engine, "engine", engine).exact:
            raise Unsupported(
                f"engine {engine.name!r} prepares amplitudes by gates with noise, whose angles "
                "depend on the image: no certificate from counts covers that"
            )
        with on_engine(model, StatevectorEngine()):
            quadratic_forms(model)
        return amplitude_turn(model)
    raise Unsupported(f"how {type(model).__name__} encodes its images is not known")


def reupload_turn(gates: ReUploadGates, rounding: Turn) -> Turn:
    """½ max Σ_j |R_j·δ| over a region, and what rounding of the angles adds at either end.

    Args:
        gates: All of the circuit's rotations: noise may make any of them matter.
        rounding: How far all angles together can be off.
    """
    patterns, group = sign_patterns(gates.reading)
    groups = int(group.max()) + 1

    def turn(inside: Region) -> Tensor:
        if inside.norm == "linf":
            each = inside.width @ patterns.abs().mT
        else:
            each = patterns.square().sum(1).expand(len(inside.width), -1)
        zero = each.new_zeros(len(each), groups)
        total = zero.scatter_reduce(1, group.expand_as(each), each, "amax").sum(1)
        if inside.norm == "l2":
            total = total.sqrt() * inside.width[:, 0]
        return total / 2 + rounding(inside)

    return turn


def sign_patterns(reading: Tensor) -> tuple[Tensor, Tensor]:
    """Rows sR (m, features) over signs s of rotations that share features, and their groups (m,).

    Args:
        reading: R (rotations, features).
    """
    reads = csr_array((reading != 0).numpy().astype(float))
    _, group = connected_components(reads @ reads.T, directed=False)
    rows, owner = [], []
    for number in range(int(group.max()) + 1):
        own = reading[torch.as_tensor(group == number)]
        if len(own) > _MOST:
            found = own.abs().sum(0, keepdim=True)
        else:  # s and −s are the same
            signs = [(1.0, *rest) for rest in itertools.product((1.0, -1.0), repeat=len(own) - 1)]
            found = torch.tensor(signs, dtype=own.dtype) @ own
        rows.append(found)
        owner.append(torch.full((len(found),), number))
    return torch.cat(rows), torch.cat(owner)


def amplitude_turn(model: nn.Module) -> Turn:
    """The angle between image vectors of a region: at most arcsin(‖δ‖/‖centre‖).

    The amplitudes x_i/‖x‖ are off by two roundings each at either end. Images so short that
    squares underflow turn by anything.
    """
    rounding = 4 * Precision.of(model).unit

    def turn(inside: Region) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(inside.centre, dim=1)
        reach = inside.width[:, 0]
        if inside.norm == "linf":
            reach = torch.linalg.vector_norm(inside.width, dim=1)
        known = reach < usable_radius(model, inside.centre, "l2")
        sine = torch.where(known, reach / length, 1.0)
        return torch.where(known, sine.asin() + rounding, RIGHT_ANGLE)

    return turn
