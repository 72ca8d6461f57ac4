"""Re-uploading on a line of qubits: what its rotations read, how it scores, and its zoo."""

from __future__ import annotations

from functools import reduce
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import qbench
from qbench.circuits.torch_engine import TorchEngine
from qbench.engines import create_engine
from qbench.evaluation.training import train
from qbench.registry import load_registry
from qbench.weights.files import unpack
from qbench.weights.zoo import Zoo
from qbench_quantum.models import SplitReUpload

MODELS = ("reup-hw4", "reup-hw8")
needs_qiskit = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("qiskit_aer", "qiskit_ibm_runtime")),
    reason="needs Qiskit: the extra qiskit",
)


def wide(model, seed=0):
    """The model with every parameter uniform in [-3, 3]."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -3, 3, generator=generator)
    return model


def angles_by_hand(model, x):
    """Read after read: features go to the rotations in turn."""
    angles = model.theta.detach().flatten().tolist()
    turn = 0
    for weights in model.w.tolist():
        for weight, feature in zip(weights, x.tolist(), strict=True):
            angles[turn % len(angles)] += weight * feature
            turn += 1
    return np.reshape(angles, model.circuit.angles_shape)


def scores_by_hand(angles, classes):
    """⟨Z_k⟩ by dense matrices: rotations on each qubit, then CNOTs down the line."""
    qubits = angles.shape[1]
    identity, x, z = np.eye(2), np.array([[0, 1], [1, 0]]), np.diag([1, -1])

    def on(matrices):
        return reduce(np.kron, [matrices.get(q, identity) for q in range(qubits)])

    def cnot(q):
        return on({q: np.diag([1, 0])}) + on({q: np.diag([0, 1]), q + 1: x})

    def rotation(phi, theta, omega):
        rz = [np.diag(np.exp([-0.5j * a, 0.5j * a])) for a in (phi, omega)]
        c, s = np.cos(theta / 2), np.sin(theta / 2)
        return rz[1] @ np.array([[c, -s], [s, c]]) @ rz[0]

    state = np.eye(2**qubits)[0]
    for layer in angles:
        state = on({q: rotation(*turn) for q, turn in enumerate(layer)}) @ state
        for q in range(qubits - 1):
            state = cnot(q) @ state
    return [(state.conj() @ on({k: z}) @ state).real for k in range(classes)]


@st.composite
def sizes(draw):
    qubits, layers = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    reads = draw(st.sampled_from([r for r in (1, 2, 3) if 3 * qubits * layers % r == 0]))
    features = 3 * qubits * layers // reads * draw(st.integers(1, 3))
    classes = draw(st.integers(1, qubits))
    return {
        "qubits": qubits, "layers": layers, "classes": classes, "features": features, "reads": reads
    }  # fmt: skip


@given(sizes(), st.integers(0, 99))
@settings(max_examples=40)
def test_angles_and_scores_by_dense_matrices(size, seed):
    model = wide(SplitReUpload(**size, engine=TorchEngine()).double(), seed)
    x = torch.rand(2, size["features"], generator=torch.Generator().manual_seed(seed)).double()
    expected = np.stack([angles_by_hand(model, row) for row in x])
    np.testing.assert_allclose(model.angles(x).detach().numpy(), expected, atol=1e-12)
    read = model.theta.flatten() + x @ model.reading().T
    np.testing.assert_allclose(read.detach().numpy(), expected.reshape(2, -1), atol=1e-12)
    scores = [scores_by_hand(angles, size["classes"]) for angles in expected]
    np.testing.assert_allclose(model(x).detach().numpy(), scores, atol=1e-12)


def test_each_feature_is_read_about_all_three_axes():
    for layers in (4, 8):
        model = wide(SplitReUpload(layers=layers))
        read = (model.reading() != 0).view(*model.circuit.angles_shape, 256)
        assert torch.equal(read.sum((0, 1)), torch.ones(3, 256, dtype=torch.int64))
        assert torch.equal(read.sum(-1), torch.full(read.shape[:3], 768 // (12 * layers)))


def test_each_rotation_of_four_layers_reads_one_column_of_the_image():
    read = (wide(SplitReUpload()).reading() != 0).view(48, 16, 16)
    columns = torch.arange(48) % 16
    expected = nn.functional.one_hot(columns, 16).bool()[:, None].expand(48, 16, 16)
    assert torch.equal(read, expected)


@pytest.mark.parametrize("layers", [4, 8])
def test_every_pixel_matters(layers):
    model = wide(SplitReUpload(layers=layers, engine=TorchEngine()).double())
    x = torch.rand(1, 256, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda image: model(image)[0], x)[:, 0]
    assert (jacobian.abs() > 1e-3).any(0).all()


@pytest.mark.parametrize("layers", [4, 8])
def test_the_default_engine_agrees_with_the_reference(layers):
    fast = wide(SplitReUpload(layers=layers))
    exact = SplitReUpload(layers=layers, engine=TorchEngine()).double()
    exact.load_state_dict(fast.state_dict())
    x = torch.rand(7, 256, requires_grad=True)
    x64 = x.detach().double().requires_grad_()
    ours, reference = fast(x), exact(x64)
    torch.testing.assert_close(ours.double(), reference, atol=1e-4, rtol=0)
    found = torch.autograd.grad(ours[:, 1].sum(), [x, *fast.parameters()])
    expected = torch.autograd.grad(reference[:, 1].sum(), [x64, *exact.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-4 * b.abs().max().item(), rtol=0)


def test_parameters_start_as_the_protocol_says():
    model = SplitReUpload(layers=8)
    assert (model.w.shape, model.theta.shape) == ((3, 256), (8, 4, 3))
    for parameter in model.parameters():
        assert 0 <= parameter.min() < 1e-3 < 9e-3 < parameter.max() < 0.01
    assert SplitReUpload()(torch.empty(0, 256)).shape == (0, 4)


def test_the_regulariser_counts_every_read():
    model = wide(SplitReUpload())
    expected = sum((w / 2) ** 2 for w in model.w.detach().double().flatten().tolist())
    assert model.regularisation().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ({"reads": 0}, "0 reads of 256"),
        ({"features": 0}, "reads of 0 features"),
        ({"qubits": 3, "reads": 9}, "measured wires"),
        ({"layers": 0}, "at least 2 qubits and 1 layer"),
    ],
)
def test_sizes_that_do_not_fit(size, reason):
    with pytest.raises(ValueError, match=reason):
        SplitReUpload(**size)


@pytest.mark.parametrize("name", MODELS)
def test_only_neighbours_on_a_line_interact(name):
    model = load_registry().get("model", name).create()
    assert model.circuit.cnots == (((0, 1), (1, 2), (2, 3)),) * int(name[-1])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(5))
def test_the_zoo_classifies(name, seed):
    glyphs, model = qbench.load_dataset(), qbench.load_model(name, seed)
    accuracy = (model(glyphs.test.x).argmax(1) == glyphs.test.y).float().mean()
    assert accuracy >= 0.96
    x = glyphs.test.x[:20].requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert (gradient != 0).any(0).all()


@pytest.mark.parametrize("name", MODELS)
def test_training_again_gives_the_shipped_weights(name):
    provided = load_registry().get("model", name)
    shipped, _ = unpack(Zoo().read(name, 0), name)
    _, again = train(provided.create, qbench.load_dataset(), provided.spec.recipe, 0)
    # Last digits differ between processors; θ then drifts where no measurement sees it.
    torch.testing.assert_close(again.weights["w"], shipped.weights["w"], atol=5e-3, rtol=0)
    np.testing.assert_allclose(again.loss, shipped.loss, atol=1e-3)
    np.testing.assert_allclose(again.test_accuracy, shipped.test_accuracy, atol=0.02)


@pytest.mark.slow
@needs_qiskit
@pytest.mark.parametrize("name", MODELS)
def test_nine_tenths_survive_marrakesh(name, tmp_path, monkeypatch):
    from qbench_engines.backends import fake_backend
    from qbench_engines.compiling import compiled

    monkeypatch.setenv("QBENCH_CIRCUITS", str(tmp_path))
    glyphs, model = qbench.load_dataset(), qbench.load_model(name)
    program = compiled(model.circuit, False, fake_backend("marrakesh"))
    assert program.num_nonlocal_gates() == 3 * model.circuit.layers  # not one swap
    assert program.metadata["estimated_success"] > 0.9
    model.engine = create_engine("aer:marrakesh", shots=4096, seed=1)
    with torch.no_grad():
        found = model(glyphs.test.x).argmax(1)
    assert (found == glyphs.test.y).float().mean() >= 0.9
