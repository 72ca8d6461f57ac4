"""Programs in OpenQASM that are nothing but gates and measurements, as Qiskit circuits.

Qiskit reads OpenQASM 2 itself, and OpenQASM 3 by a package that few have installed. Inputs, which
OpenQASM 3 alone knows, are what makes a model of a circuit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm2
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.library import U1Gate, U2Gate, U3Gate, get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError

from qbench.errors import UsageError
from qbench.text import one_line
from qbench_circuits.arithmetic import computed

_LONGEST = 10_000_000  # characters; no circuit that is simulated needs more
_DEEPEST = 50  # definitions within definitions
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_NAME = r"[^\W\d]\w*"
_DEFINITION = re.compile(rf"\bgate\s+({_NAME})\s*(?:\(([^()]*)\))?([^(){{}};]*)\{{([^{{}}]*)\}}")
_VERSION = re.compile(r"OPENQASM\s+(\d)(?:\.\d+)?")
_IGNORED = re.compile(r'include\s+"(?:stdgates|qelib1)\.inc"|barrier\b.*|gphase\s*\(.*\)', re.S)
_INPUT = re.compile(rf"input\s+(?:float|angle)\s*(?:\[\s*\d+\s*\])?\s*({_NAME})")
_REGISTER = re.compile(rf"(qubit|bit)\s*(?:\[\s*(\d{{1,9}})\s*\])?\s+({_NAME})")
_MEASURE = re.compile(
    r"(?:(?P<bits>[^=]+)=\s*measure\s+(?P<from>.+)|measure\s+(?P<q>.+?)->(?P<c>.+))"
)
_CALL = re.compile(rf"({_NAME})\s*(?:\((.*)\)\s*|\s)([\w\s,\[\]]+)", re.S)
_OPERAND = re.compile(rf"({_NAME})\s*(?:\[\s*(\d{{1,9}})\s*\])?")
_MOST_QUBITS = 1000
_MOST_GATES = 100_000
_OTHER_NAMES: Mapping[str, str] = {"U": "u", "CX": "cx", "phase": "p", "cphase": "cp"}
_GATES: Mapping[str, type[Gate]] = {
    **{
        name: type(gate)
        for name, gate in get_standard_gate_name_mapping().items()
        if isinstance(gate, Gate) and gate.num_qubits
    },
    **{"u1": U1Gate, "u2": U2Gate, "u3": U3Gate},
}


def read(text: str) -> QuantumCircuit:
    """The circuit of a program in OpenQASM 3, with a `Parameter` for each input, or OpenQASM 2.

    Raises:
        UsageError: The program has more in it than gates and measurements, or is wrong.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"the OpenQASM program has {len(text):,} characters: at most {_LONGEST:,}")
    plain = _COMMENT.sub(" ", text)
    version = _VERSION.match(plain.lstrip())
    if version is not None and version[1] == "2":
        try:
            return qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
        except QiskitError as error:
            raise UsageError(f"the OpenQASM program: {one_line(str(error.message))}") from error
    return _Reader().read(plain)


@dataclass(frozen=True)
class _Definition:
    angles: Sequence[str]
    qubits: Sequence[str]
    body: Sequence[str]


class _Reader:
    def __init__(self) -> None:
        self.circuit = QuantumCircuit()
        self.definitions: dict[str, _Definition] = {}
        self.inputs: dict[str, Any] = {}
        self.registers: dict[str, Any] = {}

    def read(self, text: str) -> QuantumCircuit:
        for name, angles, qubits, body in _DEFINITION.findall(text):
            self.definitions[name] = _Definition(_split(angles), _split(qubits), _statements(body))
        for statement in _statements(_DEFINITION.sub(" ", text)):
            self._statement(statement)
        return self.circuit

    def _statement(self, statement: str) -> None:
        if _VERSION.fullmatch(statement) or _IGNORED.fullmatch(statement):
            return
        if found := _INPUT.fullmatch(statement):
            if found[1] in self.inputs:
                _refuse(statement, "is declared twice")
            self.inputs[found[1]] = Parameter(found[1])
        elif found := _REGISTER.fullmatch(statement):
            self._register(statement, found[1], int(found[2] or 1), found[3])
        elif found := _MEASURE.fullmatch(statement):
            bits = self._operand(statement, found["bits"] or found["c"], ClassicalRegister)
            qubits = self._operand(statement, found["from"] or found["q"], QuantumRegister)
            if len(bits) != len(qubits):
                _refuse(statement, f"reads {len(qubits)} qubits into {len(bits)} bits")
            self.circuit.measure(qubits, bits)
        elif found := _CALL.fullmatch(statement):
            angles = [computed(part, self.inputs) for part in _split(found[2] or "")]
            on = [self._operand(statement, part, QuantumRegister) for part in _split(found[3])]
            if not on:
                _refuse(statement, "names no qubit")
            size = max(map(len, on))
            if any(len(some) not in (1, size) for some in on):
                _refuse(statement, "has registers of different lengths")
            for k in range(size):
                qubits = [some[k % len(some)] for some in on]
                self._gate(statement, found[1], angles, qubits, 0)
        else:
            _refuse(statement, "is no gate, measurement, register or input float")

    def _register(self, statement: str, kind: str, size: int, name: str) -> None:
        if name in self.registers or not 1 <= size <= _MOST_QUBITS:
            _refuse(statement, f"is declared twice, or not of 1 to {_MOST_QUBITS}")
        made = (QuantumRegister if kind == "qubit" else ClassicalRegister)(size, name)
        self.circuit.add_register(made)
        self.registers[name] = made

    def _operand(self, statement: str, text: str, kind: type[Any]) -> list[Any]:
        """The qubits or bits of `name` or `name[index]`."""
        found = _OPERAND.fullmatch(text.strip())
        register: Any = self.registers.get(found[1]) if found else None
        if found is None or type(register) is not kind:
            _refuse(statement, f"names {one_line(text.strip(), 40)!r}, which is not there")
        if found[2] is None:
            return list(register)
        if int(found[2]) >= len(register):
            _refuse(statement, f"names {text.strip()}, and there are {len(register)}")
        return [register[int(found[2])]]

    def _gate(
        self, statement: str, name: str, angles: Sequence[Any], on: Sequence[Any], depth: int
    ) -> None:
        definition = self.definitions.get(name)
        if depth > _DEEPEST:
            _refuse(statement, f"is a gate defined by itself, or more than {_DEEPEST} deep")
        if definition is not None:
            self._defined(statement, definition, angles, on, depth)
            return
        gate = _GATES.get(_OTHER_NAMES.get(name, name))
        if gate is None:
            _refuse(statement, f"is a gate {name!r} that is not known")
        if len(self.circuit.data) >= _MOST_GATES:
            _refuse(statement, f"is one gate too many: more than {_MOST_GATES}")
        try:
            self.circuit.append(gate(*angles), on)
        except (TypeError, QiskitError) as error:
            _refuse(statement, f"does not fit the gate {name!r}: {one_line(str(error), 120)}")

    def _defined(
        self,
        statement: str,
        definition: _Definition,
        angles: Sequence[Any],
        on: Sequence[Any],
        depth: int,
    ) -> None:
        if len(angles) != len(definition.angles) or len(on) != len(definition.qubits):
            _refuse(statement, "has not the angles and qubits of the gate's definition")
        values = dict(zip(definition.angles, angles, strict=True))
        place = dict(zip(definition.qubits, on, strict=True))
        for inner in definition.body:
            if _IGNORED.fullmatch(inner):
                continue
            found = _CALL.fullmatch(inner)
            names = _split(found[3]) if found else []
            if found is None or not set(names) <= set(place):
                _refuse(inner, "is no gate on the qubits of its definition")
            given = [computed(part, values) for part in _split(found[2] or "")]
            self._gate(inner, found[1], given, [place[name] for name in names], depth + 1)


def _statements(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _refuse(statement: str, reason: str) -> NoReturn:
    raise UsageError(f"the OpenQASM program: {one_line(statement, 80)!r} {reason}")
