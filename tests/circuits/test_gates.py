"""Gates in any order as layers of rotations and CNOTs: against dense matrices, gate by gate."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.circuits.circuit import Circuit
from qbench.circuits.gates import GateSequence
from qbench.circuits.torch_engine import TorchEngine

X, Y, Z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
GATES = ("rx", "ry", "rz", "rot", "hadamard", "cnot")


@st.composite
def sequences(draw):
    n = draw(st.integers(1, 3))
    gates = []
    for _ in range(draw(st.integers(0, 12))):
        name = draw(st.sampled_from(GATES[: 6 if n > 1 else 5]))
        wires = draw(st.permutations(range(n)))[: 2 if name == "cnot" else 1]
        angles = draw(st.lists(st.sampled_from((0.0, 1, -0.7, 2.3)), min_size=3, max_size=3))
        count = {"rot": 3, "hadamard": 0, "cnot": 0}.get(name, 1)
        gates.append((name, wires, angles[:count]))
    return n, gates, draw(st.permutations(range(n)))


def rotation(pauli, angle):
    return math.cos(angle / 2) * np.eye(2) - 1j * math.sin(angle / 2) * pauli


def matrix(name, angles):
    if name == "hadamard":
        return (X + Z) / math.sqrt(2)
    if name == "rot":
        phi, theta, omega = angles
        return rotation(Z, omega) @ rotation(Y, theta) @ rotation(Z, phi)
    return rotation({"rx": X, "ry": Y, "rz": Z}[name], *angles)


def probabilities(n, gates, measured):
    """Of the outcomes on `measured`, by the whole matrix of every gate."""

    def on(matrices):
        return reduce(np.kron, [matrices.get(q, np.eye(2)) for q in range(n)])

    state = np.eye(2**n)[0]
    for name, wires, angles in gates:
        if name == "cnot":
            control, target = wires
            whole = on({control: np.diag([1, 0])}) + on({control: np.diag([0, 1]), target: X})
        else:
            whole = on({wires[0]: matrix(name, angles)})
        state = whole @ state
    found = np.abs(state.reshape((2,) * n)) ** 2
    return found.transpose(measured).ravel()


def written(n, gates, measured, symbols=False):
    sequence = GateSequence(n)
    for name, wires, angles in gates:
        values = [torch.tensor(a, dtype=torch.float64) if symbols else a for a in angles]
        getattr(sequence, name)(*wires, *values)
    return sequence.written(measured)


@pytest.mark.parametrize("symbols", [False, True])
@given(sequences())
@settings(max_examples=60)
def test_a_sequence_of_gates_does_what_its_matrices_do(symbols, sequence):
    n, gates, measured = sequence
    found = written(n, gates, measured, symbols)
    angles = torch.full((3 * found.circuit.qubits * found.circuit.layers,), math.nan).double()
    for index, value in (*found.circuit.constants, *found.angles.items()):
        angles[index] = value
    distribution = TorchEngine().probabilities(
        found.circuit, angles.view(found.circuit.angles_shape)
    )
    np.testing.assert_allclose(distribution[0], probabilities(*sequence), atol=1e-12)
    assert symbols or not found.angles


def test_rotations_share_a_layer_until_a_cnot_parts_them():
    gates = [("rz", [0], [0.1]), ("ry", [0], [0.2]), ("ry", [0], [0.3]), ("rz", [0], [0.4])]
    assert written(2, gates, [0]).circuit.layers == 1
    assert written(2, [*gates, ("rx", [1], [1.0]), ("rx", [1], [1.0])], [0]).circuit.layers == 1
    assert written(2, [*gates, ("ry", [0], [0.5])], [0]).circuit.layers == 2
    cnot = ("cnot", [0, 1], [])
    found = written(2, [*gates, cnot, ("rz", [1], [0.5]), cnot, cnot], [0]).circuit
    assert found.cnots == (((0, 1),), ((0, 1), (0, 1)))


def test_constants_are_angles_of_the_circuit():
    with pytest.raises(ValueError, match="constants of more than 6 angles"):
        Circuit(2, 1, (0,), constants=((6, 0.0),))
