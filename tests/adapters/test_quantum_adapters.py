"""Circuits of PennyLane and Qiskit, as their users have them."""

import numpy as np
import pennylane as qml
import pytest
import torch
from torch import nn

import qbench
from qbench.errors import UsageError

WEIGHTS = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X = torch.rand(5, 3, generator=torch.Generator().manual_seed(1))


def measured(kind):
    if kind == "probs":
        return qml.probs(wires=[0])
    if kind == "one":
        return qml.expval(qml.PauliZ(0))
    z = [qml.expval(qml.PauliZ(wire)) for wire in range(3)]
    return tuple(z) if kind == "tuple" else z


def circuit(kind="list", device="default.qubit", method="best", shots=None):
    @qml.qnode(qml.device(device, wires=3), interface="torch", diff_method=method)
    def made(inputs, weights):
        qml.AngleEmbedding(inputs, wires=range(3))
        qml.StronglyEntanglingLayers(weights, wires=range(3))
        return measured(kind)

    return qml.set_shots(made, shots) if shots else made


def layer(**how):
    init = {"weights": WEIGHTS.float()}
    return qml.qnn.TorchLayer(circuit(**how), {"weights": (2, 3, 3)}, init_method=init)


def one_by_one(kind="list"):
    """Scores by PennyLane itself, one image after the other."""
    return torch.stack([torch.stack([*circuit(kind)(x.double(), WEIGHTS)]) for x in X])


@pytest.mark.parametrize("kind", ["list", "tuple"])
def test_expectations_are_stacked(kind):
    for model in (layer(kind=kind), lambda x: circuit(kind)(x, WEIGHTS)):
        adapted = qbench.adapt(model)
        assert torch.allclose(adapted(X).double(), one_by_one(), atol=1e-6)
        assert "as batch" in str(adapted)


def test_a_single_expectation_is_two_scores_and_probabilities_are_their_logarithms():
    scores = qbench.adapt(layer(kind="one"), outputs="logits")(X)
    assert torch.allclose(scores.diff(dim=1)[:, 0].double(), one_by_one()[:, 0], atol=1e-6)
    scores = qbench.adapt(layer(kind="probs"))(X)
    assert torch.allclose(scores.exp().double(), one_by_one("probs"), atol=1e-6)


@pytest.mark.parametrize(
    ("how", "precision"),
    [
        ({"method": "parameter-shift"}, 1e-5),
        ({"method": "adjoint"}, 1e-5),
        ({"device": "default.mixed"}, 1e-5),
        ({"device": "lightning.qubit"}, 1e-5),
        ({"method": "parameter-shift", "shots": 20_000}, 0.05),
    ],
)
def test_gradients_inside_a_larger_module(how, precision):
    def gradient(inner):
        x = X.clone().requires_grad_()
        scores = qbench.adapt(nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Flatten(), inner))(x)
        return torch.autograd.grad(scores[:, 1].sum(), x)[0]

    assert torch.allclose(gradient(layer(**how)), gradient(layer()), atol=precision)


def test_a_circuit_without_derivatives_says_so_and_can_be_estimated():
    model = layer(method=None)
    why = qbench.adapt(model).missing_gradient(X)
    assert "Derivatives cannot be calculated with diff_method=None): take an attack" in why
    x = X.clone().requires_grad_()
    estimated = qbench.adapt(model, gradient="finite-differences")(x)[:, 1].sum()
    exact = qbench.adapt(layer())(x)[:, 1].sum()
    apart = torch.autograd.grad(estimated, x)[0] - torch.autograd.grad(exact, x)[0]
    assert apart.abs().max() < 1e-3


@pytest.mark.parametrize("model", ["layer", "qnode"])
def test_shots_are_set_and_found_out(model):
    @qml.qnode(qml.device("default.qubit", wires=3))
    def qnode(inputs):
        return circuit().func(inputs, WEIGHTS)

    thing = layer() if model == "layer" else qnode
    y = one_by_one().argmax(1)
    with pytest.warns(UserWarning, match="scores vary from pass to pass; attacks see the mean of"):
        result = qbench.evaluate(thing, "fgsm", 0.0, data=(X, y), shots=50)
    assert result.passes == 10
    exact = qbench.evaluate(thing, "fgsm", 0.0, data=(X, y))
    assert (exact.passes, exact.clean_accuracy) == (1, 1.0)
    sampled = qbench.adapt(thing, shots=50)
    scores = torch.stack([sampled(X) for _ in range(20)]).double()
    error = scores.mean(0) - one_by_one()
    assert error.abs().max() < 5 / (50 * 20) ** 0.5  # standard errors
    assert scores.std(0).max() > 0.01


def test_a_circuit_with_weights_is_told_what_to_do():
    with pytest.raises(UsageError, match=r"'made' takes inputs, weights: adapt a function of the"):
        qbench.adapt(circuit())


class DemoClassifier(nn.Module):
    """As in PennyLane's demo of arXiv:2404.16154: one image at a time, weights · inputs + bias."""

    def __init__(self):
        super().__init__()
        shape = (32, 8, 3)

        @qml.qnode(qml.device("lightning.qubit", wires=8))
        def reupload(inputs, weights, bias):
            angles = weights * torch.reshape(inputs, shape) + bias
            qml.StronglyEntanglingLayers(angles, wires=range(8))
            return [qml.expval(qml.PauliZ(wire)) for wire in range(4)]

        self.qcircuit = qml.qnn.TorchLayer(reupload, {"weights": shape, "bias": shape})

    def forward(self, x):
        return self.qcircuit(torch.hstack([x] * 3))


def test_the_model_of_pennylanes_demo_is_our_reup():
    ours, demo = qbench.load_model("reup"), DemoClassifier()
    demo.qcircuit.load_state_dict({"weights": ours.w.data, "bias": ours.theta.data})
    glyphs = qbench.load_dataset()
    few = (glyphs.test.x[:3], glyphs.test.y[:3])
    theirs = qbench.evaluate(demo, "fgsm", 0.1, data=few)
    same = qbench.evaluate(ours, "fgsm", 0.1, data=few)
    assert "takes (256,) as batches of one" in theirs.model
    assert (theirs.clean_accuracy, theirs.robust_accuracy) == (
        same.clean_accuracy,
        same.robust_accuracy,
    )
    margins = [result.per_image["clean_margin"] for result in (theirs, same)]
    assert np.allclose(*margins, atol=1e-3)  # kept in half precision
    assert torch.allclose(theirs.x_adv, same.x_adv, atol=1e-6)


def qiskit_connector(input_gradients):
    pytest.importorskip("qiskit_machine_learning")
    from qiskit.circuit import Parameter, QuantumCircuit
    from qiskit.primitives import StatevectorEstimator
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    inputs, weight = [Parameter(f"x{k}") for k in range(2)], Parameter("w")
    made = QuantumCircuit(1)
    for angle in (*inputs, weight):
        made.rx(angle, 0)
    network = EstimatorQNN(
        circuit=made,
        estimator=StatevectorEstimator(),
        observables=SparsePauliOp("Z"),
        input_params=inputs,
        weight_params=[weight],
        input_gradients=input_gradients,
        default_precision=0.0,
    )
    return TorchConnector(network, initial_weights=[np.pi / 2 - 1.0])


def test_a_qiskit_connector_has_the_right_robust_accuracy():
    # ⟨Z⟩ = cos(x₀ + x₁ + π/2 − 1) = sin(1 − x₀ − x₁): above 0, and so class 1, where x₀ + x₁ < 1.
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(2)) * 0.8 + 0.1
    z = 1 - x.sum(1)
    y = (z > 0).long()
    result = qbench.evaluate(qiskit_connector(True), "pgd:steps=5", 0.1, data=(x, y))
    assert result.clean_accuracy == 1.0
    assert result.robust_accuracy == pytest.approx(float((z.abs() > 2 * 0.1).double().mean()))


def test_a_qiskit_connector_without_input_gradients_says_so():
    why = qbench.adapt(qiskit_connector(False)).missing_gradient(torch.rand(2, 2))
    assert "input gradients off: make it with input_gradients=True" in why


class Network:
    input_gradients = False


class NumberedFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        return torch.stack([x[:, 0] * weight, x[:, 1] * weight], 1).squeeze(-1)

    @staticmethod
    def backward(ctx, upstream):
        return None, upstream.sum()[None]


class Connector(nn.Module):
    """Answers as Qiskit's TorchConnector does whose network has no input gradients."""

    def __init__(self):
        super().__init__()
        self.neural_network, self.weight = Network(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return NumberedFunction.apply(x, self.weight)


def test_connectors_are_told_by_their_attributes():
    model = nn.Sequential(nn.Linear(2, 2), Connector())
    assert "input_gradients=True" in qbench.adapt(model).missing_gradient(torch.rand(2, 2))
