"""Circuits of Qiskit, PennyLane and OpenQASM on every engine, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from random_circuits import INPUTS, RandomCircuit

pytest.importorskip("pennylane")
pytest.importorskip("qiskit_aer")
pytest.importorskip("qiskit_ibm_runtime")

import pennylane as qml
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import zz_feature_map
from qiskit.quantum_info import Statevector

from qbench.engines import create_engine
from qbench.engines.modules import use_engine
from qbench.errors import DataError, Unsupported, UsageError
from qbench_circuits import from_openqasm, from_pennylane, from_qiskit
from qbench_engines.noisy import NoisyAerEngine, noisy_circuit

SEEDS = range(3)
W = torch.tensor([0.4, -1.1, 2.2], dtype=torch.float64)
IMAGES = torch.tensor([[0.1, 0.9], [0.7, 0.3]], dtype=torch.float64)
LANGUAGES = ("qiskit", "pennylane", "openqasm")


def layer(random, language):
    """The circuit as a module in double precision, read out as probabilities."""
    if language == "pennylane":
        return from_pennylane(random.pennylane(), INPUTS, {"w": W}).double()
    if language == "qiskit":
        circuit = random.qiskit()
        inputs = [p for p in circuit.parameters if p.name.startswith("x")]
        made = from_qiskit(circuit, inputs, W.tolist(), "probabilities")
    else:
        names = [f"x{k}" for k in range(INPUTS)]
        made = from_openqasm(random.openqasm(), names, W.tolist(), "probabilities")
    made = made.double()
    made.weights.data = W.clone()
    return made


def expected(random):
    """Probabilities by Qiskit's own state vector, the first qubit as the highest bit."""
    circuit, found = random.qiskit(), []
    for image in IMAGES:
        values = {p: float((image if p.name[0] == "x" else W)[p.index]) for p in circuit.parameters}
        state = Statevector(circuit.assign_parameters(values))
        found.append(state.probabilities(list(reversed(range(random.qubits)))))
    return torch.tensor(np.stack(found))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_exact_engine_gives_the_probabilities_of_the_circuit(seed, language):
    random = RandomCircuit.of(seed)
    made, wanted = layer(random, language), expected(random)
    engines = [create_engine(name) for name in ("statevector", "torch", "pennylane", "aer")]
    for engine in (*engines, NoisyAerEngine("lagos", scale=0)):
        use_engine(made, engine)
        with torch.no_grad():
            torch.testing.assert_close(made(IMAGES), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_finite_differences(seed, language):
    made = layer(RandomCircuit.of(seed), language)
    (weights,) = made.parameters()
    project = torch.linspace(-1, 1, made.readout.shape[1], dtype=torch.float64)
    slopes = {}
    for engine in ("statevector", "torch", "pennylane"):
        use_engine(made, create_engine(engine))
        x = IMAGES.clone().requires_grad_()
        slopes[engine] = torch.autograd.grad((made(x) @ project).sum(), [x, weights])

    def score(images, values):
        weights.data = values
        with torch.no_grad():
            return float((made(images) @ project).sum())

    use_engine(made, create_engine("torch"))
    step = 1e-5
    wanted = [torch.zeros_like(IMAGES), torch.zeros_like(W)]
    for place, slope in enumerate(wanted):
        for k in range(slope.numel()):
            moved = [torch.zeros_like(IMAGES), torch.zeros_like(W)]
            moved[place].view(-1)[k] = step
            up = score(IMAGES + moved[0], W + moved[1])
            down = score(IMAGES - moved[0], W - moved[1])
            slope.view(-1)[k] = (up - down) / (2 * step)
    for found in slopes.values():
        for ours, slope in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, slope, atol=1e-6, rtol=0)


@pytest.mark.parametrize("engine", ["aer", "aer:lagos"])
def test_engines_without_gradients_say_so(engine):
    made = layer(RandomCircuit.of(0), "qiskit")
    use_engine(made, create_engine(engine))
    with pytest.raises(Unsupported, match="gives no gradients"):
        made(IMAGES)


def test_fixed_gates_are_no_parameters_on_a_device():
    x = Parameter("x")
    circuit = QuantumCircuit(3)
    circuit.ry(x, 0)
    circuit.cx(0, 2)  # the qubit between them does nothing
    made = from_qiskit(circuit, x)
    assert made.circuit.qubits == 2
    device = noisy_circuit(made.circuit, False, "lagos")
    assert [p.name for p in device.program.parameters] == ["angles[1]"]
    assert device.program.num_nonlocal_gates() == 1
    wrong = made.asked(torch.zeros(1, 1))[1] + 0.1
    with pytest.raises(UsageError, match="angle 0 should be 0 as declared"):
        create_engine("aer").probabilities(made.circuit, wrong)


def test_products_and_functions_of_parameters():
    features = zz_feature_map(2, reps=1)  # 2 (π − x₀) (π − x₁)
    circuit = features.copy()
    w = Parameter("w")
    circuit.rx(w.sin() * features.parameters[0] ** 2 + abs(w) / 3, 1)
    made = from_qiskit(circuit, features.parameters, [0.8], "probabilities").double()
    made.weights.data = torch.tensor([0.8], dtype=torch.float64)
    state = Statevector(circuit.assign_parameters([0.8, *IMAGES[0].tolist()]))
    wanted = torch.tensor(state.probabilities([1, 0]))
    torch.testing.assert_close(made(IMAGES)[0].detach(), wanted, atol=1e-12, rtol=0)


def test_classical_bits_say_what_is_read_and_in_which_order():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(3, 2)
    circuit.ry(x[0], 2)
    circuit.ry(x[1], 0)
    circuit.measure([2, 0], [1, 0])
    made = from_qiskit(circuit, x).double()
    torch.testing.assert_close(made(IMAGES), IMAGES[:, [1, 0]].cos(), atol=1e-12, rtol=0)


@qml.qnode(qml.device("default.qubit"))
def observables(inputs, weights):
    qml.AmplitudeEmbedding(inputs, wires=["b", "a"], normalize=True)
    qml.StronglyEntanglingLayers(weights, wires=["a", "b", "c"])
    qml.IsingXX(weights[0, 0, 0], wires=["a", "c"])
    return (
        qml.expval(qml.X("a") @ qml.Y("c")),
        qml.expval(0.5 * qml.Z("b") - 2 * qml.X("a") + 1),
        qml.probs(wires="b"),
    )


@qml.qnode(qml.device("default.qubit"))
def of_one_image(inputs, weights):
    qml.RX(inputs[0] * inputs[1], 0)
    qml.RY(weights[0], 1)
    qml.CNOT([0, 1])
    return [qml.expval(qml.Z(wire)) for wire in range(2)]


@qml.qnode(qml.device("default.qubit"))
def of_many_images(inputs, weights):
    qml.AngleEmbedding(inputs, wires=range(2))
    qml.StronglyEntanglingLayers(weights, wires=range(2))
    return [qml.expval(qml.Z(wire)) for wire in range(2)]


@pytest.mark.parametrize(
    ("node", "shape", "features"), [(observables, (1, 3, 3), 4), (of_one_image, (1,), 2)]
)
def test_a_qnode_gives_what_pennylane_makes_of_it(node, shape, features):
    torch.manual_seed(0)
    made = from_pennylane(node, features, {"weights": shape}).double()
    x = torch.rand(3, features, dtype=torch.float64, requires_grad=True)
    (weights,) = made.parameters()
    wanted = torch.stack(
        [torch.cat([torch.atleast_1d(part) for part in node(image, weights)]) for image in x]
    )
    found = made(x)
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    slopes = [torch.autograd.grad(y[:, 0].sum(), [x, weights]) for y in (found, wanted)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    assert made(x[:0]).shape == (0, found.shape[1])


def test_a_torch_layer_brings_its_weights():
    theirs = qml.qnn.TorchLayer(of_many_images, {"weights": (1, 2, 3)})
    made = from_pennylane(theirs, 2)
    x = torch.rand(2, 2)
    torch.testing.assert_close(made(x), theirs(x), atol=1e-5, rtol=0)


def test_images_of_another_length():
    made = from_pennylane(of_one_image, 2, {"weights": (1,)})
    with pytest.raises(DataError, match=r"takes images \(n, 2\), not \(3, 5\)"):
        made(torch.zeros(3, 5))


def test_few_weights_start_anywhere_and_others_where_they_are_told():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.ry(x + w, 0)
    torch.manual_seed(3)
    first = from_qiskit(circuit, "x").weights
    torch.manual_seed(3)
    assert torch.equal(from_qiskit(circuit, [x]).weights, first)
    assert 0 <= first < 2 * math.pi
    assert from_qiskit(circuit, [x], [0.25]).weights.tolist() == [0.25]


def bad_qiskit(change):
    x, w = ParameterVector("x", 2), Parameter("w")
    circuit = QuantumCircuit(2, 2)
    circuit.ry(x[0] + w, 0)
    circuit.ry(x[1], 1)
    arguments = {"inputs": x}
    change(circuit, arguments)
    return from_qiskit(circuit, **arguments)


def conditional(circuit, _):
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c, _: (c.measure(0, 0), c.x(0)), "measures a qubit before its end"),
        (lambda c, _: (c.measure(0, 0), c.measure(1, 0)), "two qubits into classical bit 0"),
        (lambda c, _: c.reset(0), "holds 'reset'"),
        (conditional, "decides by what it measures"),
        (lambda c, a: a.update(inputs=Parameter("w")), "has no parameter 'w' that could be"),
        (lambda c, a: a.update(inputs=["y"]), r"has no parameter 'y' .* it has w, x\[0\], x\[1\]"),
        (lambda c, a: a.update(inputs=[]), "has no inputs"),
        (lambda c, a: a.update(inputs=["w", "w"]), "named twice"),
        (lambda c, a: a.update(weights=[1, 2]), "weights for a circuit of 1: w"),
        (lambda c, a: a.update(readout="counts"), "readout is expectations or probabilities"),
        (lambda c, _: c.ry(math.nan, 0), "cannot be written by U and CX gates"),
        (lambda c, _: c.ry(Parameter("v").sign(), 0), "holds sign, unknown here"),
        (lambda c, _: (c.add_register(*many()), c.h(range(40))), "uses 40 qubits"),
    ],
)
def test_bad_circuits_of_qiskit_are_refused_in_one_line(change, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        bad_qiskit(change)
    assert "\n" not in str(caught.value)


def many():
    return [QuantumRegister(38, "r")]


def qnode(function):
    return qml.qnode(qml.device("default.qubit"))(function)


def mid_circuit(inputs):
    qml.RX(inputs[0], 0)
    qml.cond(qml.measure(0), qml.X)(1)
    return qml.expval(qml.Z(1))


def clash(inputs):
    qml.RX(inputs[0], 0)
    return qml.expval(qml.Z(0)), qml.expval(qml.X(0))


def changing(inputs):
    (qml.RX if inputs[0] > 1 else qml.RY)(inputs[0], 0)
    return qml.expval(qml.Z(0))


@pytest.mark.parametrize(
    ("function", "weights", "reason"),
    [
        (mid_circuit, None, "measures a wire before its end"),
        (clash, None, "measures wire 0 about Z and X"),
        (lambda inputs: (qml.RX(inputs[0], 0), qml.state())[1:], None, "returns a State"),
        (lambda inputs: qml.expval(qml.Hermitian(np.eye(2), 0)), None, "measures Hermitian"),
        (lambda inputs: qml.RX(inputs[7], 0), None, "index 7 is out of bounds"),
        (lambda inputs, w: qml.expval(qml.Z(0)), None, "takes inputs, w: name its weights"),
        (lambda inputs: qml.expval(qml.Z(0)), {"w": (1,)}, "takes no weights w"),
        (lambda inputs: qml.probs(wires=range(20)), None, "uses 20 qubits"),
        (lambda inputs: qml.probs(wires=0), {}, "the same for all images: 'inputs' turns no gate"),
    ],
)
def test_bad_circuits_of_pennylane_are_refused_in_one_line(function, weights, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        from_pennylane(qnode(function), 2, weights)
    assert "\n" not in str(caught.value)


def test_a_circuit_that_changes_with_the_image_is_refused():
    made = from_pennylane(qnode(changing), 1)
    with pytest.raises(UsageError, match="is another circuit for other images"):
        made(torch.tensor([[0.1], [1.9]]))


def test_what_is_no_circuit_at_all():
    with pytest.raises(UsageError, match="is a str: give a QuantumCircuit"):
        from_qiskit("qreg q[2];", "x")
    with pytest.raises(UsageError, match="function is no QNode"):
        from_pennylane(mid_circuit, 2)
