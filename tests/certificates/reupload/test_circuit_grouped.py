"""The grouped bound: which rotations matter, and what the others add up to."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm, sample_points
from qbench_certificates.reupload.circuit_bound import CircuitBound
from qbench_certificates.reupload.circuit_grouped import CircuitGrouped
from qbench_certificates.reupload.gates import matters, read_gates
from qbench_quantum.models import ReUpload, SplitReUpload

NO_IMAGES = torch.empty(0)


def _steepest(circuit: Circuit, seed: int) -> Tensor:
    """The largest |∂⟨Z⟩/∂α| of any measured wire at random angles, for every rotation."""
    generator = torch.Generator().manual_seed(seed)
    shape = 20, *circuit.angles_shape
    angles = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    found = torch.zeros(circuit.angles_shape, dtype=torch.float64)
    for k in range(len(circuit.measured)):
        at = angles.clone().requires_grad_()
        scores = expectations(TorchEngine().probabilities(circuit, at))
        (slopes,) = torch.autograd.grad(scores[:, k].sum(), at)
        found = torch.maximum(found, slopes.abs().amax(0))
    return found


@settings(max_examples=40)
@given(
    qubits=st.integers(2, 5),
    layers=st.integers(1, 4),
    wires=st.sets(st.integers(0, 4), min_size=1, max_size=3),
    closed=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_a_rotation_that_does_not_matter_has_no_derivative_anywhere(
    qubits, layers, wires, closed, seed
):
    wires = tuple(sorted({wire % qubits for wire in wires}))
    circuit = Circuit(qubits, layers, wires, closed=closed)
    assert (_steepest(circuit, seed)[~matters(circuit, wires)] < 1e-12).all()


@pytest.mark.parametrize("wires", [(0,), (0, 1), (0, 1, 2, 3)])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_on_an_open_line_every_other_rotation_matters(wires, layers) -> None:
    circuit = Circuit(4, layers, wires, (1,) * layers, closed=False)
    assert torch.equal(_steepest(circuit, 0) > 1e-9, matters(circuit, wires))


@pytest.mark.parametrize("wires", [(0,), (0, 1), (0, 1, 2, 3)])
def test_in_the_published_circuit_every_other_rotation_matters(wires) -> None:
    circuit = Circuit(8, 4, wires)  # its last ring has the range 4, as that of 32 layers
    assert torch.equal(_steepest(circuit, 0) > 1e-9, matters(circuit, wires))
    assert Circuit().ranges[-1] == circuit.ranges[-1]


def test_the_weights_of_a_feature_add_up_by_absolute_values() -> None:
    model = ReUpload(qubits=2, layers=1, classes=2, features=3).double()
    with torch.no_grad():
        model.w.copy_(torch.tensor([[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]]))
    assert read_gates(model).weights.tolist() == [5, 7, 9]


def test_rotations_that_read_several_features() -> None:
    # Rotations 0..5 read features 0..5, and then 6..8 and 0..2, and then 3..8.
    model = SplitReUpload(2, 1, 2, features=9, reads=2).double()
    with torch.no_grad():
        model.w.copy_(torch.arange(1.0, 19).view(2, 9))
    gates = read_gates(model)
    assert gates.weights.tolist() == [11, 13, 15, 17, 19, 21, 23, 25, 27]
    assert gates.reading[0].nonzero().flatten().tolist() == [0, 3, 6]
    x = torch.rand(3, 9, dtype=torch.float64)
    assert torch.allclose(gates.angles(x), model.angles(x), rtol=0, atol=1e-13)
    widths = gates.widths(x)
    assert torch.allclose(widths.flatten(1), x @ gates.reading.abs().mT)
    gate = gates.reading.abs().view(2, 3, 9).sum(1)  # what a gate's rotations read together
    found = CircuitBound()(model, NO_IMAGES).lipschitz
    assert found == pytest.approx(float(gate.norm(dim=1).sum()), rel=1e-9)


def test_one_ry_gate_attains_it() -> None:
    model = ReUpload(qubits=2, layers=1, classes=2, features=6).double()
    with torch.no_grad():
        model.w.fill_(0.5)  # the phases at the start and at the end do not matter
        model.w[0, 0, 1], model.w[0, 1, 1] = 0.0, 0.7
        model.theta.zero_()
    bound = CircuitGrouped()(model, NO_IMAGES)
    assert bound.scope == "score"
    assert bound.lipschitz == pytest.approx(0.7, rel=1e-9)
    steepest = torch.full((1, 6), math.pi / 2 / 0.7, dtype=torch.float64)
    assert largest_jacobian_norm(model, steepest, "score") == pytest.approx(0.7)


@settings(max_examples=40)
@given(
    qubits=st.integers(2, 4),
    layers=st.integers(1, 3),
    divisor=st.integers(1, 18),
    split=st.booleans(),
    scale=st.floats(0.01, 3),
    seed=st.integers(0, 2**20),
)
def test_no_slope_exceeds_it_and_it_never_exceeds_the_bound_by_gates(
    qubits, layers, divisor, split, scale, seed, largest_slope, randomise
):
    features = math.gcd(3 * qubits * layers, divisor)
    if split:
        features *= 2
        reads = 3 * qubits * layers // math.gcd(3 * qubits * layers, features)
        model = SplitReUpload(qubits, layers, 2, features, reads)
    else:
        model = ReUpload(qubits=qubits, layers=layers, classes=2, features=features)
    randomise(model, seed, {"w": scale, "theta": 3.0})
    bound = CircuitGrouped()(model, NO_IMAGES).lipschitz
    generator = torch.Generator().manual_seed(seed)
    points = sample_points(torch.rand(4, features, dtype=torch.float64), generator, 60)
    assert largest_jacobian_norm(model, points, "score") <= bound * (1 + 1e-9)
    assert largest_slope(model, features, "score", seed) <= bound * (1 + 1e-9)
    assert bound <= CircuitBound()(model, NO_IMAGES).lipschitz * (1 + 1e-9)


@pytest.mark.parametrize(
    ("checkpoint", "plain"),
    [("QVC-ReUp-8-32-0_0-ep20", 7.84), ("QVC-ReUp-8-32-0_0-ep100", 12.00)],
)
def test_published_checkpoints(checkpoint, plain, load_published, published_images) -> None:
    model = load_published(ReUpload(), checkpoint)
    bound, sampled, _ = certify(
        CircuitGrouped(), model, published_images[::10], torch.Generator().manual_seed(0)
    )
    weights = read_gates(model).weights
    assert float(torch.linalg.vector_norm(weights)) == pytest.approx(plain, abs=0.005)
    assert 0.5 < sampled < bound.lipschitz <= plain + 0.005
    assert CircuitBound()(model, NO_IMAGES).lipschitz > 6 * bound.lipschitz
