"""OpenQASM in and out."""

from __future__ import annotations

import math

import pytest
import torch
from random_circuits import INPUTS, RandomCircuit

pytest.importorskip("qiskit")

from qiskit import qasm3
from qiskit.quantum_info import Statevector

from qbench.errors import UsageError
from qbench_circuits import from_openqasm, from_qiskit, to_openqasm
from qbench_quantum.dressed import DressedCircuit
from qbench_quantum.models import Amplitude

NAMES = [f"x{k}" for k in range(INPUTS)]
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] x0;\nqubit[2] q;\nbit[2] c;\n'


@pytest.mark.parametrize("seed", range(3))
def test_there_and_back_again(seed):
    made = from_openqasm(RandomCircuit.of(seed).openqasm(), NAMES, [0.3, 1, 2], "probabilities")
    (text,) = to_openqasm(made)
    again = from_openqasm(text, NAMES, [0.3, 1, 2], "probabilities")
    x = torch.rand(3, INPUTS)
    torch.testing.assert_close(made(x), again(x), atol=1e-6, rtol=0)


def test_what_qiskit_writes_is_read():
    circuit = RandomCircuit.of(2).qiskit()
    circuit.rzz(circuit.parameters[0], 0, 1)  # by a definition of its own
    circuit.measure_all()
    inputs = [p for p in circuit.parameters if p.name.startswith("x")]
    made = from_qiskit(circuit, inputs, [0.3, 1, 2])
    names = [f"_x_{k}_" for k in range(INPUTS)]
    again = from_openqasm(qasm3.dumps(circuit), names, [0.3, 1, 2])
    x = torch.rand(3, INPUTS)
    torch.testing.assert_close(made(x), again(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [DressedCircuit, Amplitude])
def test_the_circuits_of_any_model_for_images(make):
    """Read by Qiskit and run by its state vector, they give the model's probabilities."""
    model = make(features=4, classes=2).double()
    x = torch.rand(2, 4, dtype=torch.float64)
    texts = to_openqasm(model, x)
    assert len(texts) == 2
    for image, text in zip(x, texts, strict=True):
        circuit = reader().read(text)
        reads = [circuit.find_bit(g.qubits[0]).index for g in circuit.data if g.name == "measure"]
        state = Statevector(circuit.remove_final_measurements(inplace=False))
        found = state.probabilities(list(reversed(reads)))
        angles = model.angles(image[None]) if make is DressedCircuit else model.angles()
        prepared = None if make is DressedCircuit else image[None] / image.norm()
        wanted = model.engine.probabilities(model.circuit, angles, prepared)[0]
        torch.testing.assert_close(torch.tensor(found), wanted.detach(), atol=1e-9, rtol=0)


def reader():
    from qbench_circuits import openqasm

    return openqasm


def test_what_the_language_allows():
    text = (
        "OPENQASM 3;\n/* two\nlines */ input angle[32] a; input float b; // inputs\n"
        "gate mine(t, u) p, r { rx(t/2) p; inner(-u**2) r; cx p, r; }\n"
        "gate inner(v) s { ry(v + sin(pi/2)) s; barrier s; }\n"
        "qubit[2] q; bit[2] c; h q; cx q[0], q[1]; mine(a*2, b) q[1], q[0]; gphase(1.0);\n"
        "barrier q; U(0.1, 0.2, 0.3) q[0]; measure q[0] -> c[1]; c[0] = measure q[1];"
    )
    plain = (
        "OPENQASM 3; input float a; input float b; qubit[2] q; bit[2] c; h q[0]; h q[1];"
        "cx q[0], q[1]; rx(a) q[1]; ry(1 - b*b) q[0]; cx q[1], q[0]; u3(0.1, 0.2, 0.3) q[0];"
        "measure q[0] -> c[1]; measure q[1] -> c[0];"
    )
    x = torch.rand(3, 2)
    one, two = (from_openqasm(code, ["a", "b"]) for code in (text, plain))
    torch.testing.assert_close(one(x), two(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pi/2", math.pi / 2),
        ("4/2", 2.0),
        ("1.0/2", 0.5),
        ("-2**2", -4.0),
        ("2**-1", 0.5),
        ("2**3/4", 2.0),
        ("10**23/10**22", 10.0),
        ("3**34-16677181699666569", 0.0),
        ("sqrt(2)*euler", math.sqrt(2) * math.e),
        ("3*pi/4 - 1e-3", 3 * math.pi / 4 - 1e-3),
    ],
)
def test_numbers_are_what_openqasm_3_makes_of_them(written, meant):
    from qbench_circuits.arithmetic import computed

    found = computed(written, {})
    assert isinstance(found, float)
    assert found == pytest.approx(meant, abs=1e-15)


def test_whole_numbers_beside_an_input_do_not_wrap():
    rows = torch.rand(4, 1)
    large = from_openqasm(HEAD + "rx(x0*3037000500*3037000500/1e18) q; c = measure q;", ["x0"])
    power = from_openqasm(HEAD + "rx(2**63*x0/1e18) q; c = measure q;", ["x0"])
    plain = from_openqasm(HEAD + "rx(x0) q; c = measure q;", ["x0"])
    for found in (large, power):
        torch.testing.assert_close(found(rows), plain(rows * 9.223372037), atol=1e-5, rtol=0)


def test_the_square_root_of_an_input():
    rows = torch.rand(4, 1) + 0.1
    roots = from_openqasm(HEAD + "rx(sqrt(x0)) q; c = measure q;", ["x0"])
    plain = from_openqasm(HEAD + "rx(x0) q; c = measure q;", ["x0"])
    torch.testing.assert_close(roots(rows), plain(rows.sqrt()), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("rx(x0) q[2];", r"names q\[2\], and there are 2"),
        ("rx(x0) p;", "names 'p', which is not there"),
        ("rx(x0) c;", "names 'c', which is not there"),
        ("rx(x1) q;", "'x1' is no angle"),
        ("rx(1/0) q;", "is no angle"),
        ("rx(9**9**9**9) q;", "is no angle"),
        ("rx(2^3) q;", r"\^ works on bits in OpenQASM 3: write \*\* for a power"),
        ("rx(pi*(1/2)) q;", r"whole numbers give a whole number in OpenQASM 3: write 1.0/2"),
        ("rx((1).__class__) q;", "is no angle"),
        ("rx(open(1)) q;", "is no angle"),
        ("rx(" + "(" * 300 + "1" + ")" * 300 + ") q;", "is no angle"),
        ("rx q[0];", "does not fit the gate 'rx'"),
        ("cx q[0], q[0];", "does not fit the gate 'cx'"),
        ("foo q;", "a gate 'foo' that is not known"),
        ("ctrl @ x q[0], q[1];", "is no gate, measurement"),
        ("for int i in [0:2] { x q[i]; }", "is no gate, measurement"),
        ("if (c[0]) x q[0];", "is no angle"),
        ("reset q;", "a gate 'reset' that is not known"),
        ("gate a p { b p; } gate b p { a p; } a q;", "defined by itself"),
        ("gate a p { x r; } a q;", "is no gate on the qubits of its definition"),
        ("input float x0;", "is declared twice"),
        ("qubit[100000] r;", "not of 1 to 1000"),
        ("c = measure q[0];", "reads 1 qubits into 2 bits"),
        ("rx(x0) q; c = measure q; x q[0];", "measures a qubit before its end"),
    ],
)
def test_programs_that_are_refused_in_one_line(code, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        from_openqasm(HEAD + code, ["x0"])
    assert "\n" not in str(caught.value)


def test_programs_without_inputs_are_no_models():
    older = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0];'
    with pytest.raises(UsageError, match="has no inputs"):
        from_openqasm(older, [])
    with pytest.raises(UsageError, match="'nope' is not defined"):
        from_openqasm(older + "nope q[0];", ["x"])
    with pytest.raises(UsageError, match="give images"):
        to_openqasm(DressedCircuit())
    with pytest.raises(UsageError, match="runs no circuits"):
        to_openqasm(torch.nn.Linear(2, 2), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("qubit q; x ,;", "names no qubit"),
        (f"qubit[{'9' * 5000}] q;", "is no gate, measurement, register"),
        (f"qubit q; rx({'-' * 9000}1) q;", "is no angle"),
    ],
    ids=["no operand", "digits", "signs"],
)
def test_hostile_programs_are_one_line(body: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        from_openqasm(f'OPENQASM 3.0; include "stdgates.inc"; {body}', inputs=[])


def test_words_of_python_are_names_here() -> None:
    body = "input float lambda; qubit q; rx(2*lambda+sin(lambda)) q;"
    assert from_openqasm(f'OPENQASM 3.0; include "stdgates.inc"; {body}', inputs=["lambda"])
