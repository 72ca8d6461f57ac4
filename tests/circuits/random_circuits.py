"""One random circuit in three languages: Qiskit, PennyLane and OpenQASM 3."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

INPUTS, WEIGHTS = 2, 3
# Qiskit's and OpenQASM's name, PennyLane's, qubits, angles
GATES = (
    ("h", "Hadamard", 1, 0),
    ("sx", "SX", 1, 0),
    ("t", "T", 1, 0),
    ("rx", "RX", 1, 1),
    ("ry", "RY", 1, 1),
    ("rz", "RZ", 1, 1),
    ("p", "PhaseShift", 1, 1),
    ("cx", "CNOT", 2, 0),
    ("cz", "CZ", 2, 0),
    ("swap", "SWAP", 2, 0),
    ("crx", "CRX", 2, 1),
    ("cry", "CRY", 2, 1),
    ("crz", "CRZ", 2, 1),
    ("cp", "ControlledPhaseShift", 2, 1),
    ("ccx", "Toffoli", 3, 0),
)


@dataclass(frozen=True)
class RandomCircuit:
    """Gates with angles a · x_i + b · w_j, on 2 or 3 qubits that are all measured.

    Args:
        qubits: Their number.
        gates: (Qiskit's name, PennyLane's, wires, None or (a, i, b, j)).
    """

    qubits: int
    gates: tuple[tuple[str, str, list[int], Any], ...]

    @classmethod
    def of(cls, seed: int) -> RandomCircuit:
        rng = random.Random(seed)
        qubits, gates = rng.choice([2, 3]), []
        for _ in range(10):
            name, other, size, angles = rng.choice([g for g in GATES if g[2] <= qubits])
            wires = rng.sample(range(qubits), size)
            inputs, weights = rng.randrange(INPUTS), rng.randrange(WEIGHTS)
            turn = (round(rng.uniform(-2, 2), 3), inputs, round(rng.uniform(-2, 2), 3), weights)
            gates.append((name, other, wires, turn if angles else None))
        for k in range(INPUTS):  # every input and weight is in it
            gates.append(("ry", "RY", [k], (1.3, k, 0.7, k)))
        gates.append(("rx", "RX", [0], (0.5, 0, 1.1, 2)))
        gates.append(("cx", "CNOT", [0, 1], None))
        return cls(qubits, tuple(gates))

    def qiskit(self) -> Any:
        """A circuit of the vectors x and w, without measurements."""
        from qiskit import QuantumCircuit
        from qiskit.circuit import ParameterVector

        x, w = ParameterVector("x", INPUTS), ParameterVector("w", WEIGHTS)
        circuit = QuantumCircuit(self.qubits)
        for name, _, wires, turn in self.gates:
            angle = [turn[0] * x[turn[1]] + turn[2] * w[turn[3]]] if turn else []
            getattr(circuit, name)(*angle, *wires)
        return circuit

    def pennylane(self) -> Any:
        """A QNode of inputs (..., features) and w."""
        import pennylane as qml

        @qml.qnode(qml.device("default.qubit"))
        def circuit(inputs: Any, w: Any) -> Any:
            for _, name, wires, turn in self.gates:
                if turn is None:
                    getattr(qml, name)(wires=wires)
                else:
                    angle = turn[0] * inputs[..., turn[1]] + turn[2] * w[turn[3]]
                    getattr(qml, name)(angle, wires=wires)
            return qml.probs(wires=range(self.qubits))

        return circuit

    def openqasm(self) -> str:
        """A program with the inputs x0, x1, w0, w1 and w2."""
        lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
        lines += [f"input float[64] x{k};" for k in range(INPUTS)]
        lines += [f"input float[64] w{k};" for k in range(WEIGHTS)]
        lines += [f"qubit[{self.qubits}] q;", f"bit[{self.qubits}] c;"]
        for name, _, wires, turn in self.gates:
            angle = f"({turn[0]}*x{turn[1]} + {turn[2]}*w{turn[3]})" if turn else ""
            lines.append(f"{name}{angle} {', '.join(f'q[{wire}]' for wire in wires)};")
        return "\n".join([*lines, "c = measure q;"])
