import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.circuits.circuit import Circuit, z_signs
from qbench.circuits.torch_engine import TorchEngine, expectations


@st.composite
def circuits(draw):
    n = draw(st.integers(2, 5))
    layers = draw(st.integers(1, 4))
    measured = draw(st.permutations(range(n)))[: draw(st.integers(1, n))]
    if draw(st.booleans()):
        pair = st.permutations(range(n)).map(lambda wires: tuple(wires[:2]))
        each = st.lists(pair, max_size=4).map(tuple)
        couplings = draw(st.lists(each, min_size=layers, max_size=layers))
        return Circuit(n, layers, tuple(measured), couplings=tuple(couplings))
    ranges = draw(st.lists(st.integers(1, n - 1), min_size=layers, max_size=layers))
    return Circuit(n, layers, tuple(measured), tuple(ranges), draw(st.booleans()))


def pennylane(circuit, angles, state=None):
    @qml.qnode(qml.device("default.qubit", wires=circuit.qubits), interface="torch")
    def node():
        if state is not None:
            qml.StatePrep(state, wires=range(circuit.qubits))
        if circuit.couplings is not None:
            coupled_layers(circuit, angles)
        elif circuit.closed:
            qml.StronglyEntanglingLayers(angles, range(circuit.qubits), ranges=circuit.ranges)
        else:
            open_layers(circuit, angles)
        return qml.probs(wires=circuit.measured)

    return node()


def coupled_layers(circuit, angles):
    for layer, couplings in enumerate(circuit.couplings):
        for wire in range(circuit.qubits):
            qml.Rot(*angles[layer, wire], wires=wire)
        for control, target in couplings:
            qml.CNOT([control, target])


def open_layers(circuit, angles):
    for layer, reach in enumerate(circuit.ranges):
        for wire in range(circuit.qubits):
            qml.Rot(*angles[layer, wire], wires=wire)
        for wire in range(circuit.qubits - reach):
            qml.CNOT([wire, wire + reach])


@settings(max_examples=30)
@given(circuits(), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_the_reference_engine_agrees_with_pennylane(circuit, seed, with_state, shared):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    angles = normal(*circuit.angles_shape) if shared else normal(2, *circuit.angles_shape)
    state = None
    if with_state:
        state = normal(2, 2**circuit.qubits)
        state = state / state.norm(dim=1, keepdim=True)
    ours = TorchEngine().probabilities(circuit, angles, state)
    for k in range(len(ours)):
        one = angles if shared else angles[k]
        theirs = pennylane(circuit, one, None if state is None else state[k])
        torch.testing.assert_close(ours[k], theirs, atol=1e-12, rtol=0)


def test_default_ranges_are_pennylanes():
    angles = torch.randn(9, 4, 3, dtype=torch.float64)
    circuit = Circuit(4, 9, (0, 2))
    assert circuit.ranges == (1, 2, 3, 1, 2, 3, 1, 2, 3)

    @qml.qnode(qml.device("default.qubit", wires=4), interface="torch")
    def node():
        qml.StronglyEntanglingLayers(angles, range(4))
        return qml.probs(wires=[0, 2])

    ours = TorchEngine().probabilities(circuit, angles)
    torch.testing.assert_close(ours[0], node(), atol=1e-12, rtol=0)


def test_one_rotation_by_hand():
    # RY(θ) on wire 0 of |00⟩, then CNOT(0, 1) and CNOT(1, 0): |00⟩ stays, |10⟩ becomes |01⟩
    angles = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    angles[0, 0, 0, 1] = 0.8
    probabilities = TorchEngine().probabilities(Circuit(2, 1, (0, 1)), angles)
    expected = [np.cos(0.4) ** 2, np.sin(0.4) ** 2, 0, 0]
    torch.testing.assert_close(probabilities[0], torch.tensor(expected), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        expectations(probabilities)[0], torch.tensor([1.0, np.cos(0.8)]), atol=1e-12, rtol=0
    )


def test_signs_of_z():
    assert z_signs(2).tolist() == [[1, 1], [1, -1], [-1, 1], [-1, -1]]


@pytest.mark.parametrize(
    "bad",
    [
        {"qubits": 1},
        {"layers": 0},
        {"measured": (0, 8)},
        {"measured": ()},
        {"ranges": (1,)},
        {"layers": 1, "ranges": (8,)},
        {"layers": 1, "ranges": (0,)},
        {"layers": 2, "couplings": (((0, 1),),)},
        {"layers": 1, "couplings": (((0, 8),),)},
        {"layers": 1, "couplings": (((1, 1),),)},
        {"layers": 1, "couplings": ((),), "ranges": (1,)},
        {"layers": 1, "couplings": ((),), "closed": False},
    ],
)
def test_circuits_that_cannot_be(bad):
    with pytest.raises(ValueError, match=r"circuit needs|measured wires|ranges|couplings|CNOT"):
        Circuit(**bad)
