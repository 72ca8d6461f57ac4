"""Radii of re-uploading circuits: never beyond what breaks them, and tight where it is known."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reupload_models import images, largest_fall, random_model
from torch import Tensor, nn

from qbench.circuits.circuit import z_signs
from qbench.circuits.torch_engine import kronecker, rotation_matrices
from qbench.datasets.base import load_data
from qbench.errors import Unsupported, WeightsError
from qbench.evaluation.radii import BUDGETS, certify_images
from qbench.evaluation.scoring import margins
from qbench.registry import load_registry
from qbench.specs import Norm, Perturbations
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo
from qbench_certificates.radii import PRECISION
from qbench_certificates.reupload.circuit_commutators import CircuitCommutators
from qbench_certificates.reupload.circuit_fidelity import CircuitFidelity, angle_to_break
from qbench_certificates.reupload.circuit_grouped import CircuitGrouped
from qbench_certificates.reupload.circuit_operator import CircuitOperator
from qbench_certificates.reupload.circuit_taylor_1 import CircuitTaylor1
from qbench_certificates.reupload.circuit_taylor_2 import CircuitTaylor2
from qbench_certificates.reupload.curvature import curvature, hessian
from qbench_certificates.reupload.expansion import (
    Moved,
    Observed,
    length,
    moved,
    observe,
    remainder,
    rough_remainder,
)
from qbench_certificates.reupload.gates import ReUploadGates, read_gates, turn_rate
from qbench_certificates.reupload.region import Region, region, total_turn
from qbench_certificates.reupload.remainder import Remainder, Steps
from qbench_certificates.reupload.tangents import (
    products_with_tangents,
    rounding,
    run_layers,
    tangents,
    turn,
    turned_products,
)
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

CERTIFIERS = [CircuitFidelity, CircuitTaylor1, CircuitTaylor2, CircuitOperator]
GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def _gates(model: nn.Module) -> ReUploadGates:
    gates = read_gates(model)
    return gates.seen_by(gates.circuit.measured)


def _expansion(
    gates: ReUploadGates, inside: Region, y: Tensor, other: Tensor
) -> tuple[Moved, Observed]:
    common = moved(gates, inside, y, other)
    return common, observe(gates, common, torch.arange(len(y)), y, other)


def _one_layer(gates: ReUploadGates, angles: Tensor, state: Tensor, layer: int) -> Tensor:
    rotations = kronecker(rotation_matrices(angles[:, layer]))
    moved_to = (rotations @ state[..., None])[..., 0]
    return moved_to[:, torch.as_tensor(gates.circuit.permutations[layer])]


def _states(gates: ReUploadGates, x: Tensor) -> Tensor:
    """The state before every layer and at the end, (n, layers + 1, 2^qubits), by matrices."""
    angles = gates.angles(x)
    states = [torch.zeros(len(x), 2**gates.circuit.qubits, dtype=torch.complex128)]
    states[0][:, 0] = 1
    for layer in range(gates.circuit.layers):
        states.append(_one_layer(gates, angles, states[-1], layer))
    return torch.stack(states, 1)


def _signs(gates: ReUploadGates) -> Tensor:
    """The diagonal of Z on each measured wire, (m, 2^qubits)."""
    circuit, index = gates.circuit, torch.arange(2**gates.circuit.qubits)
    bits = [(index >> (circuit.qubits - 1 - wire)) & 1 for wire in circuit.measured]
    return (1 - 2 * torch.stack(bits)).double()


def _complex(vectors: Tensor) -> Tensor:
    return torch.view_as_complex(vectors.unflatten(-1, (-1, 2)).double().contiguous())


def _radii(certifier: type, model: nn.Module, x: Tensor, y: Tensor, about: Perturbations) -> Tensor:
    return certify_images(certifier(), model, x, y, about, torch.Generator())[0].radius


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 4),
    layers=st.integers(1, 4),
    repeats=st.sampled_from([0, 1, 3, -2]),
    scale=st.floats(0.05, 2),
    norm=st.sampled_from(["linf", "l2"]),
    box=st.sampled_from([(0.0, 1.0), None]),
)
def test_no_image_is_broken_within_its_radius(seed, qubits, layers, repeats, scale, norm, box):
    model = random_model(seed, qubits, layers, repeats, scale)
    x, y = images(model, seed)
    about = Perturbations(norm=norm, eps=GRID, box=box)
    for certifier in (*CERTIFIERS, *([CircuitCommutators] if norm == "linf" else [])):
        radius = _radii(certifier, model, x, y, about)
        fall = largest_fall(model, x, y, radius, norm, box)
        assert (fall[radius > 0] > 0).all(), certifier


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 3),
    layers=st.integers(1, 4),
    repeats=st.sampled_from([0, 1, 3, -2]),
    scale=st.floats(0.05, 1.5),
    norm=st.sampled_from(["linf", "l2"]),
)
def test_no_margin_leaves_its_expansion_by_more_than_the_remainder(
    seed, qubits, layers, repeats, scale, norm
):
    # The proofs themselves, at every point and not only where the prediction flips.
    model = random_model(seed, qubits, layers, repeats, scale)
    gates = _gates(model)
    x, _ = images(model, seed, 3)
    eps = torch.tensor([0.02, 0.1, 0.3], dtype=torch.float64)
    inside = region(x, eps, Perturbations(norm=norm, eps=GRID, box=(0.0, 1.0)))
    y, other = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    common, observed = _expansion(gates, inside, y, other)
    first, second = remainder(gates, inside, common, observed).bounds()
    rough = rough_remainder(common, torch.arange(3), observed.mean).bounds()[0]
    weights = StatevectorEngine().probabilities(gates.circuit, gates.angles(inside.centre))
    signs = torch.as_tensor(z_signs(len(gates.circuit.measured))).mT
    apart = (signs[y] - signs[other]).square()
    torch.testing.assert_close(observed.mean, (weights * apart).sum(1).sqrt())

    def margins(at: Tensor, image: int) -> Tensor:
        scores = gates.scores(at)
        return scores[:, y[image]] - scores[:, other[image]]

    generator = torch.Generator().manual_seed(seed)
    for image in range(3):
        centre, width = inside.centre[image], inside.width[image]

        def one(at: Tensor, image: int = image) -> Tensor:
            return margins(at[None], image)[0]

        slope = torch.func.jacrev(one)(centre)
        bend = torch.autograd.functional.hessian(one, centre)
        found = hessian(gates, common, observed, image)
        size = torch.outer(gates.weights, gates.weights)
        assert ((found - bend).abs() <= 3e-6 * size + 1e-12).all()
        bent = curvature(gates, inside, common, observed, image)
        delta = torch.randn(20, len(centre), generator=generator, dtype=torch.float64)
        delta = width * (delta.sign() if norm == "linf" else delta / delta.norm(dim=1)[:, None])
        change = margins(centre + delta, image) - one(centre) - delta @ slope
        quadratic = ((delta @ bend) * delta).sum(1) / 2
        assert (quadratic.abs() <= bent + 1e-9).all()
        assert (change >= -first[image] - 1e-9).all()
        assert (change >= -rough[image] - 1e-9).all()
        assert (change - quadratic >= -second[image] - 1e-9).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", [11, 62, 130, 178])
def test_the_remainder_where_rotations_add_up(seed: int, norm: Norm) -> None:
    # Quarter turns and one feature that all read: states stay simple and gates act in concert. At
    # these seeds the bounds are so nearly attained that a term left out would show.
    generator = torch.Generator().manual_seed(seed)
    model = random_model(seed, 2 + seed % 2, 1 + seed % 4, 0, 0.0)
    with torch.no_grad():
        shape = model.w.shape
        w = torch.randint(0, 4, shape, generator=generator) == 0
        model.w.copy_(w * torch.randn(shape, generator=generator).sign())
        model.theta.copy_(torch.randint(0, 4, shape, generator=generator) * math.pi / 2)
    gates = _gates(model)
    eps = torch.tensor([0.05, 0.15, 0.3, 0.6], dtype=torch.float64)
    inside = region(eps[:, None] * 0, eps, Perturbations(norm=norm, eps=GRID, box=None))
    y = torch.zeros(4, dtype=torch.long)
    common, observed = _expansion(gates, inside, y, y + 1)
    beyond = remainder(gates, inside, common, observed)

    def margin(x: Tensor) -> Tensor:
        scores = gates.scores(x.view(-1, 1))
        return scores[:, 0] - scores[:, 1]

    at = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(margin(at).sum(), at, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), at)
    bounds, closest = torch.stack(beyond.bounds()), torch.zeros(2, dtype=torch.float64)
    for delta in (eps, -eps):
        with torch.no_grad():
            change = margin(delta) - margin(at) - slope * delta
        falls = torch.stack([-change, bend * delta.square() / 2 - change])
        assert (falls <= bounds + 1e-12).all()
        closest = torch.maximum(closest, (falls / bounds).amax(1))
    assert closest.amax() > 0.25


def test_layers_that_read_one_feature_add_up_in_l2() -> None:
    one = torch.ones(1, 3, dtype=torch.float64)
    same, other = Steps("l2", one, one[..., None], 3), Steps("l2", one, torch.eye(3)[None] * one, 1)
    assert float(same.total(one)) == pytest.approx(3)
    assert float(same.squares()) == pytest.approx(3)
    assert float(other.total(one)) == pytest.approx(3**0.5)
    assert float(other.squares()) == pytest.approx(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_remainder_adds_up_as_derived(norm: Norm) -> None:
    def steps(*sizes: float) -> Steps:  # each layer reads one feature of its own
        largest = torch.tensor([sizes], dtype=torch.float64)
        return Steps(norm, largest, torch.diag_embed(largest), 1)

    prefix, backward, turn, speed = (0.0, 0.2), (0.3, 0.5), (0.1, 0.4), (0.2, 0.6)
    low, full, mean = 0.15, 0.7, 1.3
    one = partial(torch.tensor, dtype=torch.float64)
    first, second = Remainder(
        one([prefix]), steps(*backward), steps(*turn), steps(*speed), one([low]), one([full]),
        one([mean]),
    ).bounds()  # fmt: skip

    def add(a: float, b: float) -> float:
        return a + b if norm == "linf" else math.hypot(a, b)

    q = 0.2**2 + 0.6**2 if norm == "linf" else 0.6**2
    p = [prefix[0] + q / 2, prefix[1] + q / 2]
    later = [0.5 + mean * q / 2, mean * q / 2]
    rho = q / 2 + add(0.1 * p[0], 0.4 * p[1])
    deep = 2 * add(0.1 * later[0] * p[0], 0.4 * later[1] * p[1])
    mixed = mean * p[1] * q
    assert float(first) == pytest.approx(
        mean * q + 2 * add(0.3 * p[0], 0.5 * p[1]) + deep + mixed + 2 * (low + rho) ** 2
    )
    assert float(second) == pytest.approx(
        mean * q**1.5 / 3 + deep + mixed + q * add(0.3, 0.5) + 2 * full * rho + 2 * rho**2
    )


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    qubits=st.integers(2, 3),
    layers=st.integers(1, 3),
    repeats=st.sampled_from([3, -2]),
    scale=st.floats(0.05, 2),
    norm=st.sampled_from(["linf", "l2"]),
)
def test_no_state_turns_by_more_than_the_total(seed, qubits, layers, repeats, scale, norm):
    model = random_model(seed, qubits, layers, repeats, scale)
    gates = _gates(model)
    x, _ = images(model, seed, 40)
    eps = torch.full((40,), 0.1, dtype=torch.float64)
    inside = region(x, eps, Perturbations(norm=norm, eps=GRID, box=(0.0, 1.0)))
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    if norm == "linf":
        delta = delta.sign()
    else:
        delta = delta / torch.linalg.vector_norm(delta, dim=1, keepdim=True)
    before = _states(gates, inside.centre)[:, -1]
    after = _states(gates, inside.centre + inside.width * delta)[:, -1]
    angle = (before.conj() * after).sum(1).abs().clamp(max=1).acos()
    assert (angle <= total_turn(gates, inside) / 2 + 1e-7).all()


def test_three_rotations_of_a_gate_share_a_turn() -> None:
    assert turn_rate(torch.tensor([3.0, 0.0, 0.0])) == 3
    assert turn_rate(torch.tensor([1.0, 4.0, -2.0])) == 5


@settings(max_examples=50)
@given(weights=st.lists(st.floats(0, 1), min_size=3, max_size=3), seed=st.integers(0, 2**20))
def test_the_nearest_broken_state_is_exact(weights, seed):
    weights = torch.tensor(weights, dtype=torch.float64) + 1e-6
    weights = weights / weights.sum()
    plus, minus = weights[0], weights[2]
    zero = torch.zeros((), dtype=torch.float64)
    angle = angle_to_break(plus, minus, zero)
    state = weights.sqrt()
    equal = (plus.sqrt() + minus.sqrt()) / 2
    nearest = torch.stack([equal, weights[1].sqrt(), equal])
    overlap = (state @ nearest / nearest.norm()).clamp(max=1)
    if plus > minus:  # a broken state at just this angle ...
        assert angle == pytest.approx(float(overlap.acos()), abs=1e-6)
    else:
        assert angle == 0
    # ... and none nearer among random states.
    generator = torch.Generator().manual_seed(seed)
    near = state + 0.5 * torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    near = near / torch.linalg.vector_norm(near, dim=1, keepdim=True)
    margin = 2 * (near[:, 0] ** 2 - near[:, 2] ** 2)
    angles = (near @ state).abs().clamp(max=1).acos()
    assert (angles[margin <= 0] >= angle - 1e-7).all()
    small = torch.tensor(0.1, dtype=torch.float64)
    assert (angles[margin <= 0.1] >= angle_to_break(plus, minus, small) - 1e-7).all()


def _one_gate(weight: float, angle: float) -> ReUpload:
    """⟨Z_0⟩ = cos(weight · x + angle), ⟨Z_1⟩ = 0: one RY(x) on wire 1 counts, see below."""
    model = ReUpload(qubits=3, layers=1, classes=2, features=9).double()
    with torch.no_grad():
        model.w.zero_()
        model.theta.zero_()
        model.theta[0, 0, 1] = math.pi / 2  # wire 0 in |+⟩: every parity with it vanishes
        model.w[0, 2, 1], model.theta[0, 2, 1] = weight, angle
    return model


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_gate(norm: Norm) -> None:
    # CNOTs 0→1, 1→2, 2→0 give Z_0 → Z_1 Z_2 and Z_1 → Z_0 Z_1: scores cos(0.5 x − 1) and 0.
    model = _one_gate(0.5, -1.0)
    x = torch.full((1, 9), 0.5, dtype=torch.float64)
    y = torch.tensor([0])
    assert torch.allclose(model(x), torch.tensor([[math.cos(0.75), 0]], dtype=torch.float64))
    about = Perturbations(norm=norm, eps=(0.1, 1.0, 1.6, 1.65, 3.0), box=None)
    broken = (math.pi / 2 - 0.75) / 0.5
    for certifier in CERTIFIERS:
        radius = float(_radii(certifier, model, x, y, about))
        assert 0.1 <= radius <= broken
    assert float(_radii(CircuitTaylor2, model, x, y, about)) >= 1.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_margin_that_only_curves(norm: Norm) -> None:
    # As above with cos(x) − 0.9: no slope at 0, broken at arccos(0.9) = 0.451.
    model = _one_gate(1.0, 0.0)
    with torch.no_grad():
        model.theta[0, 0, 1] = math.acos(0.9)
    about = Perturbations(norm=norm, eps=(0.1, 0.3, 0.46), box=None)
    x, y = torch.zeros(1, 9, dtype=torch.float64), torch.tensor([0])
    assert 0.3 <= float(_radii(CircuitTaylor2, model, x, y, about)) <= 0.451
    found = float(_radii(CircuitTaylor1, model, x, y, about))
    assert 0.1**0.5 / (1 + PRECISION) <= found <= 0.1**0.5


@pytest.mark.parametrize(("qubits", "layers", "repeats"), [(3, 10, 1), (4, 5, 3), (5, 4, -2)])
def test_compiled_states_are_those_of_matrices(qubits: int, layers: int, repeats: int) -> None:
    model = random_model(7, qubits, layers, repeats, 1.5)
    gates = _gates(model)
    x, _ = images(model, 1, 3)
    found, states = run_layers(gates, x), _states(gates, x)
    # Compiled states lack a phase, the same for ψ and Zψ before a layer.
    overlap = (_complex(found.states).conj() * states[:, :-1]).sum(-1, keepdim=True)
    assert torch.allclose(overlap.abs(), torch.ones_like(overlap.abs()))
    assert torch.allclose(_complex(found.states) * overlap, states[:, :-1])
    angles, end = gates.angles(x), _signs(gates) * states[:, -1:]
    for layer in range(layers):  # Zψ before the layer is Zψ at the end once it has run
        ahead = _complex(found.observed[:, :, layer]) * overlap[:, None, layer]
        for later in range(layer, layers):
            every = [_one_layer(gates, angles, one, later) for one in ahead.unbind(1)]
            ahead = torch.stack(every, 1)
        assert torch.allclose(ahead, end)


@pytest.mark.parametrize("qubits", [2, 3, 5])
def test_turned_vectors_are_derivatives_of_rotations(qubits: int) -> None:
    gates = _gates(random_model(3, qubits, 3, 1, 1.5))
    generator = torch.Generator().manual_seed(0)
    size, shape = 2 ** (qubits + 1), (2, *gates.circuit.angles_shape)
    vectors = torch.randn(2, 3, size, generator=generator, dtype=torch.float64)
    angles = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    found, step = turn(vectors, angles), 1e-6
    for layer in range(3):
        for g in range(3 * qubits):
            pair = []
            for sign in (1, -1):
                near = angles.clone()
                near[:, layer].view(2, -1)[:, g] += sign * step
                pair.append(_one_layer(gates, near, _complex(vectors[:, layer]), layer))
            forward = _one_layer(gates, angles, _complex(found[:, layer, g]), layer)
            derivative = 1j * (pair[0] - pair[1]) / (2 * step)
            assert torch.allclose(forward, derivative, rtol=0, atol=1e-5)
    inner = torch.einsum("nlgs,nlhs->nlgh", found.double(), found.double())
    scale = vectors.square().sum(-1)[..., None, None]
    assert ((turned_products(vectors, angles) - inner).abs() <= 1e-6 * scale).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("repeats", [1, 3, -2])
def test_what_rotations_move_the_state_by(norm: Norm, repeats: int) -> None:
    model = random_model(abs(repeats), 3, 10, repeats, 1.5)
    gates = _gates(model)
    x, _ = images(model, 1, 1)
    eps = torch.full((1,), 0.1, dtype=torch.float64)
    inside = region(x, eps, Perturbations(norm=norm, eps=GRID, box=None))
    y, other = torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.long)
    common, observed = _expansion(gates, inside, y, other)
    numbers = remainder(gates, inside, common, observed)
    step = 1e-6
    shifts = step * torch.eye(model.features, dtype=torch.float64)
    up, down = (_states(gates, x + sign * shifts) for sign in (1, -1))
    exact = 1j * (up - down) / (2 * step)  # (features, layers + 1, 2^qubits)
    layers, states = common.layers, _states(gates, x)
    phase = (states[:, :-1].conj() * _complex(layers.states)).sum(-1)[0]  # of compiled states
    share, product = rounding(gates)
    allowed = share * gates.weights / 2 + 1e-8
    assert 1e-6 < share < 1e-3

    # Products of any rows with the tangents before layer l and what it adds: those of the rows,
    # taken through the layer, with the next tangents.
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(10, 5, 16, generator=generator)
    mixed = products_with_tangents(gates, layers.angles[0], layers.turned[0], rows)
    for layer in range(10):
        ahead = [_one_layer(gates, layers.angles, _complex(r[None]), layer)[0] for r in rows[layer]]
        for found, row, length_ in zip(mixed[layer], ahead, rows[layer].norm(dim=1), strict=True):
            expected = (row.conj() * phase[layer] * exact[:, layer + 1]).sum(1).real
            bound = length_ * (allowed + product * gates.weights / 2)
            assert ((found - expected).abs() <= bound + 1e-7 * length_).all()
    # And with themselves: before some layers, and the most that widths allow before every layer.
    found = tangents(gates, layers.angles[0], layers.turned[0], rows, inside.width[0], 16)
    assert torch.allclose(found.mixed, mixed, atol=1e-5)
    inner = torch.einsum("kls,mls->lkm", exact.conj(), exact).real
    size = torch.outer(gates.weights, gates.weights) / 4
    error = (2 * share + share**2 + 2 * product) * size + 1e-8
    for part, one in enumerate(found.grams):
        assert ((one - inner[math.ceil(10 * part / 16)]).abs() <= error).all()
    width = inside.width[0]
    for layer, most in enumerate(found.reached):
        assert float(most) == pytest.approx(float(width @ inner[layer].abs() @ width), abs=1e-5)
    assert ((found.last.mT @ found.last - inner[-1]).abs() <= error).all()

    observable = _signs(gates)[0] - _signs(gates)[1]
    backs = turned_products(observed.back, layers.angles)
    factors = torch.rand(1, 10, generator=generator, dtype=torch.float64)
    for _ in range(50):
        delta = torch.randn(1, model.features, generator=generator, dtype=torch.float64)
        if norm == "linf":
            delta = inside.width * delta.sign()
        else:
            delta = inside.width * delta / torch.linalg.vector_norm(delta)
        reached = torch.linalg.vector_norm(
            torch.einsum("fld,f->ld", exact, delta[0].to(exact.dtype)), dim=1
        )
        assert (reached[:-1] <= common.prefix[0] + 1e-9).all()
        assert reached[-1] <= common.end + 1e-9
        end = (delta[0].to(exact.dtype) @ exact[:, -1]) * observable
        assert torch.linalg.vector_norm(end) <= numbers.full + 1e-9
        assert torch.linalg.vector_norm(end[observable < 0]) / 2 <= numbers.low + 1e-9
        each = (delta @ gates.reading.mT).view(1, 10, -1)
        lengths = torch.einsum("nlg,nlgh,nlh->nl", each, backs, each).clamp(min=0).sqrt()
        assert (factors * lengths).sum() <= numbers.backward.total(factors) + 1e-9
        assert lengths.square().sum() <= numbers.backward.squares() + 1e-9
        rest = lengths.flip(1).cumsum(1).flip(1) - lengths
        assert (rest <= numbers.backward.later() + 1e-9).all()
        slow = each.abs().sum(2) / 2
        assert (factors * slow).sum() <= numbers.speed.total(factors) + 1e-9
        assert slow.square().sum() <= numbers.speed.squares() + 1e-9


def test_single_precision_is_paid_for() -> None:
    # All that rounding can take is added: to a length of 0, and to a Hessian of 0.
    model = random_model(0, 3, 10, 1, 0.5)
    gates = _gates(model)
    eps = torch.full((1,), 0.1, dtype=torch.float64)
    x = torch.full((1, model.features), 0.5, dtype=torch.float64)
    inside = region(x, eps, Perturbations(norm="linf", eps=GRID))
    nothing = torch.zeros(model.features, model.features, dtype=torch.float64)
    share, product = rounding(gates)
    angle = float(gates.weights.sum()) * 0.1
    least = (share + product**0.5) * angle / 2
    assert least <= float(length(gates, inside, 0, nothing)) <= 1.01 * least
    y = torch.zeros(1, dtype=torch.long)
    common, observed = _expansion(gates, inside, y, y + 1)
    bend = inside.quadratic(0, hessian(gates, common, observed, 0)) / 2
    added = curvature(gates, inside, common, observed, 0) - bend
    assert float(added) >= 1.5 * share * angle**2 * 0.999


def test_how_often_rotations_read_the_same() -> None:
    assert _gates(random_model(0, 3, 4, 3, 1.0)).overlap == pytest.approx(3)
    model = SplitReUpload(2, 1, 2, features=3, reads=4).double()  # every rotation reads two
    with torch.no_grad():
        model.w.fill_(1.0)
    gates = read_gates(model)
    rows = gates.reading / torch.linalg.vector_norm(gates.reading, dim=1, keepdim=True)
    assert gates.overlap == pytest.approx(float(torch.linalg.matrix_norm(rows, ord=2)) ** 2)
    assert gates.overlap > 1.5


@pytest.mark.parametrize("certifier", CERTIFIERS)
def test_misclassified_images_have_no_radius(certifier) -> None:
    model = random_model(3, 3, 2, 1, 0.1)
    x, y = images(model, 3)
    about = Perturbations(norm="linf", eps=GRID)
    assert (_radii(certifier, model, x, y, about) > 0).any()
    assert (_radii(certifier, model, x, 1 - y, about) == 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_box_never_hurts_and_fidelity_beats_the_global_bound(norm: Norm) -> None:
    model = random_model(7, 4, 3, 3, 0.3)
    x, y = images(model, 7, 20)
    boxed = Perturbations(norm=norm, eps=(2.0,))
    free = Perturbations(norm=norm, eps=(2.0,), box=None)
    fidelity = _radii(CircuitFidelity, model, x, y, boxed)
    margin = margins(model(x), y).detach()
    lipschitz = 2 * float(torch.linalg.vector_norm(read_gates(model).weights))
    size = model.features**0.5 if norm == "linf" else 1.0
    assert (fidelity >= margin / (lipschitz * size) - 2e-2 * fidelity).all()
    for certifier in CERTIFIERS[:2]:
        with_box, without = (_radii(certifier, model, x, y, p) for p in (boxed, free))
        assert (with_box >= without - 1e-6).all()
    if norm == "linf":
        with_box, without = (_radii(CircuitFidelity, model, x, y, p) for p in (boxed, free))
        assert (with_box > 1.2 * without).any()


@pytest.mark.parametrize("certifier", [CircuitGrouped, *CERTIFIERS])
def test_what_is_not_covered(certifier) -> None:
    x, y = torch.rand(2, 18, dtype=torch.float64), torch.zeros(2, dtype=torch.long)
    about = Perturbations(norm="linf", eps=GRID)

    def run(model: nn.Module) -> object:
        if certifier is CircuitGrouped:
            return CircuitGrouped()(model, x)
        return certifier()(model, x, y, about, torch.Generator())

    model = random_model(0, 3, 2, 1, 0.1)
    with torch.no_grad():
        model.w[0, 0, 0] = math.nan
    with pytest.raises(WeightsError, match="parameter 'w' of ReUpload"):
        run(model)
    with pytest.raises(Unsupported, match="Amplitude has no parameter 'w'"):
        run(Amplitude(features=4, layers=1, classes=2))
    model = random_model(0, 3, 2, 1, 0.1)
    model.features = 19
    with pytest.raises(Unsupported, match="18 rotations do not read 19 features"):
        run(model)

    class Shifted(ReUpload):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0.1)

    shifted = Shifted(3, 2, 2, 18)
    with pytest.raises(Unsupported, match="does not compute what its parameters say"):
        run(shifted)


def test_hessians_of_more_images_than_can_be_waited_for_are_refused() -> None:
    model = ReUpload(10, 79, 10, 784).requires_grad_(False)  # as on MNIST
    model.w.zero_()  # every score is constant: proved at once, by turning too little
    x, y, about = torch.rand(60, 784), torch.zeros(60, dtype=torch.long), BUDGETS["linf"][:1]
    few = CircuitTaylor2()(model, x[:52], y[:52], Perturbations(norm="linf", eps=about), None)
    assert len(few.radius) == 52
    with pytest.raises(Unsupported, match=r"53 images under 2370 rotations .* \(--limit 52\)"):
        CircuitTaylor2()(model, x[:53], y[:53], Perturbations(norm="linf", eps=about), None)
    model = ReUpload(14, 169, 2, 10).requires_grad_(False)  # not one image
    with pytest.raises(Unsupported, match=r"would take hours, .*: use circuit-taylor-1"):
        CircuitTaylor2()(model, x[:1, :10], y[:1], Perturbations(norm="linf", eps=about), None)


def test_published_checkpoint(load_published, published_images) -> None:
    model = load_published(ReUpload(), "QVC-ReUp-8-32-0_0-ep20")
    x = published_images[::25]
    y = model(x).argmax(1)
    about = Perturbations(norm="linf", eps=BUDGETS["linf"][:2])
    one, two = (_radii(c, model, x, y, about) for c in (CircuitTaylor1, CircuitTaylor2))
    assert (two >= 0.01).double().mean() > (one >= 0.01).double().mean()
    fall = largest_fall(model, x.to(model.w.dtype), y, two.to(model.w.dtype), "linf", (0.0, 1.0))
    assert (fall[two > 0] > 0).all()


@pytest.mark.slow
def test_circuit_for_devices() -> None:
    model = load_registry().get("model", "reup-hw8").create()
    state, _ = unpack(Zoo().read("reup-hw8", 0), "reup-hw8")
    load_into(model, state.weights, "reup-hw8")
    model = model.double()
    split = load_data("glyphs").test
    x, y = torch.as_tensor(split.x)[::20].double(), torch.as_tensor(split.y)[::20]
    for norm, budgets in BUDGETS.items():
        about = Perturbations(norm=norm, eps=budgets)
        found = [_radii(certifier, model, x, y, about) for certifier in CERTIFIERS]
        assert (found[2] >= budgets[2]).sum() > (found[1] >= budgets[2]).sum()
        for radius in found:
            fall = largest_fall(model, x, y, radius, norm, (0.0, 1.0))
            assert (fall[radius > 0] > 0).all()
