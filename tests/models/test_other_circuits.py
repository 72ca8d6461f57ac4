"""The circuits that others have proposed are theirs: PennyLane, and finite differences."""

from __future__ import annotations

import pennylane as qml
import pytest
import torch

from qbench.circuits.torch_engine import TorchEngine
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.dressed import DressedCircuit
from qbench_quantum.kernel import QuantumKernelMachine
from qbench_quantum.qcnn import QCNN
from qbench_quantum.tree import TreeNetwork

ENGINES = pytest.mark.parametrize(
    "engine", [TorchEngine(), StatevectorEngine()], ids=["torch", "fast"]
)


def rows(n, features):
    generator = torch.Generator().manual_seed(n + features)
    return torch.rand(n, features, dtype=torch.float64, generator=generator).requires_grad_()


def agree(ours, theirs, leaves):
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    weights = torch.randn(ours.shape, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        strict=True,
    ):
        assert b.abs().max() > 1e-4
        torch.testing.assert_close(a, b, atol=1e-8, rtol=0)


def on(wires, function):
    """What a PennyLane circuit measures, of each image."""
    node = qml.QNode(function, qml.device("default.qubit", wires=wires), interface="torch")

    def each(x):
        return torch.stack([torch.stack(tuple(node(image))) for image in x])

    return each


@ENGINES
def test_the_dressed_circuit_is_that_of_mari(engine):
    torch.manual_seed(0)
    model = DressedCircuit(features=7, classes=3, qubits=4, depth=2, engine=engine).double()
    torch.nn.init.normal_(model.theta)

    def circuit(z):
        for wire in range(4):
            qml.Hadamard(wire)
        for wire in range(4):
            qml.RY(z[wire], wire)
        for layer in model.theta:
            for pair in ([0, 1], [2, 3], [1, 2]):
                qml.CNOT(pair)
            for wire in range(4):
                qml.RY(layer[wire], wire)
        return [qml.expval(qml.Z(wire)) for wire in range(4)]

    x = rows(3, 7)
    z = torch.pi / 2 * torch.tanh(x @ model.before.weight.T + model.before.bias)
    theirs = on(4, circuit)(z) @ model.after.weight.T + model.after.bias
    agree(model(x), theirs, [x, *model.parameters()])


def convolution(p, a, b):
    """The two-qubit gate of Hur et al., their circuit 9, of 15 parameters."""
    qml.Rot(p[0], p[1], p[2], a)
    qml.Rot(p[3], p[4], p[5], b)
    qml.CNOT([a, b])
    qml.RY(p[6], a)
    qml.RZ(p[7], b)
    qml.CNOT([b, a])
    qml.RY(p[8], a)
    qml.CNOT([a, b])
    qml.Rot(p[9], p[10], p[11], a)
    qml.Rot(p[12], p[13], p[14], b)


@ENGINES
def test_the_qcnn_convolves_and_pools(engine):
    torch.manual_seed(0)
    model = QCNN(features=13, classes=2, engine=engine).double()  # 4 qubits, pooled to 2
    assert model.theta.shape == (15 + 3 + 15,)
    assert model.circuit.measured == (1, 3)

    def circuit(image):
        qml.AmplitudeEmbedding(image, range(4), pad_with=0.0, normalize=True)
        for a, b in ((0, 1), (2, 3), (1, 2), (3, 0)):
            convolution(model.theta[:15], a, b)
        for a, b in ((0, 1), (2, 3)):
            qml.CRot(*model.theta[15:18], wires=[a, b])
        convolution(model.theta[18:], 1, 3)
        return [qml.expval(qml.Z(wire)) for wire in (1, 3)]

    x = rows(3, 13)
    agree(model(x), on(4, circuit)(x), [x, model.theta])


def test_the_qcnn_pools_as_long_as_a_qubit_a_class_is_left():
    sizes = {(256, 4): (8, 4), (256, 2): (8, 2), (64, 10): (10, 10), (784, 2): (10, 2)}
    for (features, classes), (qubits, left) in sizes.items():
        model = QCNN(features=features, classes=classes)
        assert (model.circuit.qubits, len(model.circuit.measured)) == (qubits, left)


def test_the_qcnn_is_quadratic_forms_as_certificates_need():
    model, x = QCNN(features=13, classes=3).double(), rows(5, 13)
    unit = x / x.norm(dim=1, keepdim=True)
    expected = torch.einsum("ni,kij,nj->nk", unit, model.quadratic_forms(), unit)
    torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)


@ENGINES
def test_the_quantum_kernel_reads_the_qubits_own_states(engine):
    model = QuantumKernelMachine(features=20, classes=3, scale=0.7, engine=engine).double()
    assert model.circuit.qubits == 5  # one layer reads 15 features, so two layers read 30

    def circuit(image):
        angles = 0.7 * image.repeat(2)[:30].reshape(2, 5, 3)
        for wire in range(5):
            qml.Hadamard(wire)
        for layer, reach in ((0, 1), (1, 2)):
            for wire in range(5):
                qml.Rot(*angles[layer, wire], wires=wire)
            for wire in range(5):
                qml.CNOT([wire, (wire + reach) % 5])
        return [qml.expval(P(wire)) for P in (qml.X, qml.Y, qml.Z) for wire in range(5)]

    x = rows(2, 20)
    agree(model.embedded(x), on(5, circuit)(x), [x])


@pytest.mark.parametrize(
    ("features", "classes", "shape", "bond"),
    [(8, 4, (2, 4), 1), (6, 3, (2, 3), 1), (7, 2, None, 1), (7, 9, None, 2)],
)
def test_the_tree_is_a_circuit_of_a_qubit_a_pixel(features, classes, shape, bond):
    torch.manual_seed(0)
    model = TreeNetwork(features, classes, shape).double()
    assert model.bond == bond
    order = {(2, 4): [0, 1, 4, 5, 2, 3, 6, 7], (2, 3): [0, 1, 3, 4, 2, None, 5, None]}
    pixels = order.get(shape, [*range(features), None])

    def circuit(image):
        for wire, pixel in enumerate(pixels):
            if pixel is not None:
                qml.RY(torch.pi * image[pixel], wire)
        edges, node = [list(range(8))[k : k + bond] for k in range(0, 8, bond)], 0
        while len(edges) > 1:
            for left, right in zip(edges[0::2], edges[1::2], strict=True):
                qml.QubitUnitary(unitaries[node], left + right)
                node += 1
            top, edges = edges[0] + edges[1], edges[0::2]
        return qml.probs(wires=top)

    unitaries = torch.matrix_exp(model.generators - model.generators.mT)
    node = qml.QNode(circuit, qml.device("default.qubit", wires=8), interface="torch")
    x = rows(2, features)
    theirs = torch.stack([node(image) for image in x])
    agree(model.outcomes(x), theirs, [x, model.generators])
    torch.testing.assert_close(model(x), (theirs[:, :classes] + 1e-6).log())


@pytest.mark.parametrize("rows_columns", [(1, 5), (28, 28), (5, 7), (16, 16)])
def test_every_pixel_is_a_leaf_of_the_tree_once(rows_columns):
    rows_, columns = rows_columns
    places = TreeNetwork(rows_ * columns, 4, rows_columns).places.tolist()
    pixels = [place for place in places if place < rows_ * columns]
    assert sorted(pixels) == list(range(rows_ * columns))
    assert len(places).bit_count() == 1


def fitted_kernel():
    model = QuantumKernelMachine(features=6, classes=3, vectors=8, scale=0.7).double()
    with torch.no_grad():
        model.support.copy_(model.embedded(rows(8, 6)))
        model.coefficients.normal_()
        model.gamma.fill_(0.4)
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda: DressedCircuit(features=6, classes=3),
        lambda: QCNN(features=6, classes=3),
        lambda: TreeNetwork(6, 3, (2, 3)),
        fitted_kernel,
    ],
    ids=["dressed", "qcnn", "tree", "kernel"],
)
def test_gradients_are_those_of_finite_differences(build):
    torch.manual_seed(1)
    model = build().double()
    assert torch.autograd.gradcheck(model, (rows(2, 6),), eps=1e-6, atol=1e-7)
