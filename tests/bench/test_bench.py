"""The benchmark: what it counts, whom it times, what it writes. Never how fast anything is."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import qbench_bench
from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, rotation_matrices
from qbench.errors import UsageError
from qbench_bench.arithmetic import FORMS, multiply_adds
from qbench_bench.command import bench
from qbench_bench.contenders import contenders
from qbench_bench.measure import Settings, measure, steps
from qbench_bench.page import duration, number, page
from qbench_bench.problem import Contender, Prepared, Problem, by_engine, disagreement, reference
from qbench_bench.race import Effort, Race, best_times
from qbench_bench.report import Efficiency, Scaling, Timing
from qbench_engines.statevector.engine import group_sizes

BRIEF = Effort(spend_s=0.0, call_s=1.0, rounds=1)
TINY = replace(
    Settings.quick(), qubits=(3, 4), batches=(1, 2), layers=2, effort=BRIEF, amplitudes=(2, 3),
    certified=2,
)  # fmt: skip


class Counter:
    """Real arithmetic one multiply-add at a time, counted; None stands for no summand."""

    def __init__(self):
        self.count = 0

    def __call__(self, a, b, c=None):
        self.count += 1
        return a * b + (0 if c is None else c)

    def factor(self, z, w):
        """Complex product in four multiply-adds."""
        re = self(-z.imag, w.imag, self(z.real, w.real))
        return complex(re, self(z.imag, w.real, self(z.real, w.imag)))

    def im(self, z, w, total):
        """total + Im(z* w)."""
        return self(-z.imag, w.real, self(z.real, w.imag, total))


def pairs(n, wires):
    """Index pairs of every wire: the bit unset, set."""
    for wire in wires:
        bit = 1 << (n - 1 - wire)
        yield wire, [(i, i | bit) for i in range(2**n) if not i & bit]


def matrix(angles):
    return rotation_matrices(torch.as_tensor(angles)).numpy()


def apply(mad, state, gate, places):
    for i, j in places:
        a, b = state[i], state[j]
        for k, (x, y) in zip((i, j), gate, strict=True):
            first = mad.factor(a, x)
            re = mad(-b.imag, y.imag, mad(b.real, y.real, first.real))
            state[k] = complex(re, mad(b.imag, y.real, mad(b.real, y.imag, first.imag)))


def textbook(circuit, angles, weights):
    """Forward and adjoint gate by gate; values, Im<λ|σ|ψ> turned into gradients, two counts."""
    n, mad = circuit.qubits, Counter()
    psi = [0j] * 2**n
    psi[0] = 1 + 0j
    for layer, ring in enumerate(circuit.permutations):
        for wire, places in pairs(n, range(n)):
            apply(mad, psi, matrix(angles[layer, wire]), places)
        psi = [psi[k] for k in ring]
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> (n - 1 - np.array(circuit.measured))) & 1)
    density = [mad(z.imag, z.imag, mad(z.real, z.real)) for z in psi]
    values, forward = np.array(density) @ signs, mad.count
    mad.count = 0
    lam = [
        complex(mad(g, z.real), mad(g, z.imag)) for g, z in zip(signs @ weights, psi, strict=True)
    ]
    gradient = np.zeros_like(angles)
    for layer in reversed(range(circuit.layers)):
        back = np.argsort(circuit.permutations[layer])
        psi, lam = [psi[k] for k in back], [lam[k] for k in back]
        for wire, places in reversed(list(pairs(n, range(n)))):
            x = y = z = 0.0
            for i, j in places:  # Im of <λ|X|ψ>, <λ|Y|ψ>, <λ|Z|ψ>
                x = mad.im(lam[j], psi[i], mad.im(lam[i], psi[j], x))
                y = mad.im(lam[j], 1j * psi[i], mad.im(lam[i], -1j * psi[j], y))
                z = mad.im(lam[j], -psi[j], mad.im(lam[i], psi[i], z))
            _, theta, omega = angles[layer, wire]
            gradient[layer, wire, 2] = z
            gradient[layer, wire, 1] = np.cos(omega) * y - np.sin(omega) * x
            along = np.cos(omega) * x + np.sin(omega) * y
            gradient[layer, wire, 0] = np.cos(theta) * z + np.sin(theta) * along
            undo = matrix(angles[layer, wire]).conj().T
            apply(mad, psi, undo, places)
            apply(mad, lam, undo, places)
    return values, gradient, forward, mad.count


def factored(circuit, angles, weights):
    """The same with phases and shears on groups of qubits."""
    n, mad = circuit.qubits, Counter()
    starts = np.cumsum([0, *group_sizes(n)])
    blocks = [range(a, b) for a, b in pairwise(starts)]

    def phases(states, layer, block, which, sign, sums=None):
        for i in range(2**n):
            on = [wire for wire in block if i >> (n - 1 - wire) & 1]
            if not on:
                continue
            if sums is not None:
                term = mad.im(states[1][i], states[0][i], 0.0)
                for wire in on:
                    sums[layer, wire, which] -= 2 * term
            turn = np.exp(1j * sign * angles[layer, on, which].sum())
            for state in states:
                state[i] = mad.factor(state[i], turn)

    def shears(state, theta, places, sign):
        tan, sin = np.tan(theta / 4) * sign, np.sin(theta / 2) * sign
        for i, j in places:
            (a, c), (b, d) = (state[i].real, state[i].imag), (state[j].real, state[j].imag)
            a, c = mad(-tan, b, a), mad(-tan, d, c)
            b, d = mad(sin, a, b), mad(sin, c, d)
            state[i] = complex(mad(-tan, b, a), mad(-tan, d, c))
            state[j] = complex(b, d)

    psi = [0j] * 2**n
    psi[0] = 1 + 0j
    for layer, ring in enumerate(circuit.permutations):
        for block in blocks:
            phases((psi,), layer, block, 0, 1)
            for wire, places in pairs(n, block):
                shears(psi, angles[layer, wire, 1], places, 1)
            phases((psi,), layer, block, 2, 1)
        psi = [psi[k] for k in ring]
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> (n - 1 - np.array(circuit.measured))) & 1)
    density = [mad(z.imag, z.imag, mad(z.real, z.real)) for z in psi]
    values, forward = np.array(density) @ signs, mad.count
    mad.count = 0
    lam = [
        complex(mad(g, z.real), mad(g, z.imag)) for g, z in zip(signs @ weights, psi, strict=True)
    ]
    gradient = np.zeros_like(angles)
    for layer in reversed(range(circuit.layers)):
        back = np.argsort(circuit.permutations[layer])
        psi, lam = [psi[k] for k in back], [lam[k] for k in back]
        for block in blocks:
            phases((psi, lam), layer, block, 2, -1, gradient)
            for wire, places in pairs(n, block):
                for state in (psi, lam):
                    shears(state, angles[layer, wire, 1], places, -1)
                total = 0.0
                for i, j in places:
                    for part in ("real", "imag"):
                        a, b = getattr(psi[i], part), getattr(psi[j], part)
                        c, d = getattr(lam[i], part), getattr(lam[j], part)
                        total = mad(-c, b, mad(d, a, total))
                gradient[layer, wire, 1] = total
            phases((psi, lam), layer, block, 0, -1, gradient)
    return values, gradient, forward, mad.count


@pytest.mark.parametrize(("qubits", "layers"), [(2, 1), (3, 2), (4, 2), (5, 1)])
@pytest.mark.parametrize("form", [textbook, factored])
def test_the_counted_arithmetic_computes_the_circuit(form, qubits, layers):
    circuit = Circuit(qubits, layers, (0, 1))
    problem = Problem.random(circuit, 1, seed=qubits)
    angles = problem.angles[0].double().numpy()
    found = form(circuit, angles, problem.cotangent[0].double().numpy())
    values, gradient = reference(problem)
    assert np.allclose(found[0], values[0], atol=1e-9)
    assert np.allclose(found[1], gradient[0], atol=1e-9)
    count = multiply_adds(qubits, layers, form.__name__)
    assert count == {"forward": found[2], "gradient": found[2] + found[3]}
    assert form.__name__ in FORMS


def test_groups_cover_the_qubits():
    assert [group_sizes(n) for n in (2, 4, 8)] == [[2], [2, 2], [3, 3, 2]]
    assert [group_sizes(n) for n in (9, 12, 14)] == [[5, 4], [4, 4, 4], [5, 5, 4]]
    for n in range(2, 21):
        assert sum(group_sizes(n)) == n
        assert set(group_sizes(n)) <= ({2, 3} if n <= 8 else {3, 4, 5})


@pytest.mark.parametrize("contender", contenders(2), ids=lambda c: c.name)
@pytest.mark.filterwarnings("ignore")
def test_contenders_agree_with_the_reference(contender):
    if contender.missing():
        pytest.skip(contender.missing())
    problem = Problem.random(Circuit(4, 3), 3)
    expected = reference(problem)
    prepared = contender.prepare(problem)
    assert disagreement(prepared.gradient(), expected) is None
    assert disagreement((prepared.forward(), expected[1]), expected) is None


def off_by(value, slope):
    """A contender with errors in its values and in its gradients."""

    def prepare(problem):
        values, gradient = by_engine(problem, TorchEngine()).gradient()
        return Prepared(lambda: values + value, lambda: (values + value, gradient + slope))

    return Contender("wrong", "wrong", prepare)


@pytest.mark.parametrize(
    ("value", "slope", "complaint"),
    [(1e-3, 0, "values"), (0, 1e-3, "gradients"), (float("nan"), 0, "values")],
)
def test_a_contender_that_disagrees_is_not_timed(value, slope, complaint):
    race = Race((contenders(1)[0], off_by(value, slope)), 1)
    timings = race.run(Circuit(3, 2, (0, 1)), 2, BRIEF)
    assert [timing.contender for timing in timings] == ["statevector"]
    assert f"its {complaint} are off by" in race.skipped["wrong"]


def test_a_forward_pass_of_its_own_is_checked_too():
    def prepare(problem):
        result = by_engine(problem, TorchEngine()).gradient()
        return Prepared(lambda: 0 * result[0], lambda: result)

    race = Race((Contender("lazy", "", prepare),), 1)
    assert race.run(Circuit(3, 2, (0, 1)), 2, BRIEF) == []
    assert "values are off" in race.skipped["lazy"]


def test_a_missing_or_broken_package_is_named():
    def prepare(problem):
        raise RuntimeError("no such\ndevice")

    absent = Contender("absent", "", prepare, needs=("no_such_package",))
    broken = Contender("broken", "", prepare)
    race = Race((contenders(1)[0], absent, broken), 1)
    assert len(race.run(Circuit(3, 2, (0, 1)), 2, BRIEF)) == 1
    assert race.skipped["absent"] == "not installed: no_such_package"
    assert race.skipped["broken"].startswith("RuntimeError: no such device")


def test_slow_contenders_get_fewer_samples_and_then_none():
    whole = contenders(1)[0]
    slow = replace(whole, whole=False)
    race = Race((replace(slow, loops=True),), 1)
    (first,) = race.run(Circuit(2, 1, (0,)), 8, BRIEF)
    assert (first.samples, first.batch) == (1, 8)
    race._pace = {("statevector", 2): 0.1}  # so 0.4 s expected at 4 qubits
    circuit = Circuit(4, 1, (0,))
    (some,) = race.run(circuit, 8, Effort(0.0, 1.0, 1))
    assert some.samples == 1
    race._pace = {("statevector", 2): 0.1}
    (none,) = race.run(circuit, 8, Effort(0.0, 0.1, 1))
    assert none.samples == 0
    assert none.reason == "one sample is expected to take more than 0.2 s"
    for contender, samples in ((slow, 2), (whole, 8)):
        race.contenders = (contender,)
        race._pace = {("statevector", 2): 0.1}
        (batched,) = race.run(circuit, 8, Effort(0.0, 1.0, 1))
        assert batched.samples == samples


def test_calls_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    best = best_times(calls, 0.0, 3)
    assert order == ["a", "b"] * 3
    assert best["a"].repetitions == 3


@pytest.fixture(scope="module")
def report():
    absent = Contender("absent", "what *is* not there", lambda problem: None, ("no_such_package",))
    heard = []
    found = measure(
        replace(TINY, factors=(1, 2)),
        2,
        (*contenders(2)[:3], absent),
        lambda amount, label: heard.append(amount),
    )
    assert sum(heard) == steps(TINY, 4)
    return found


def test_a_report_holds_every_size_and_ratio(report):
    sizes = [(3, 2), (4, 2), (4, 1)]
    assert [(t.qubits, t.batch) for t in report.timings if t.contender == "torch"] == sizes
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert found["schema_version"] == 1
    assert found["skipped"] == {"absent": "not installed: no_such_package"}
    first = found["timings"][0]
    assert first["contender"] == "statevector"
    assert first["gradient_ratio"] == first["forward_ratio"] == 1
    assert first["samples"] == 2
    assert first["torch_threads"] in (1, 2)
    torch_row = found["timings"][2]
    assert torch_row["forward_ratio"] == torch_row["forward_s"] / first["forward_s"]
    assert {row["threads"] for row in found["efficiency"]} == {1, 2}
    assert [row["what"] for row in found["scaling"]] == ["images", "attack steps", "trained models"]
    assert found["scaling"][0]["sizes"] == [32, 64]
    assert set(found["machine"]) == {
        *("processor", "cores", "instructions", "lanes", "system", "load", "versions")
    }


def test_a_page_says_what_was_left_out_and_shows_its_pictures(report):
    written = page(report)
    assert "- **absent**: not installed: no\\_such\\_package" in written.text
    for name, content in written.figures.items():
        assert f"](figures/{name})" in written.text
        assert content.startswith(b"\x89PNG")
    assert len(written.figures) == 3
    assert "## 2 samples, 4 qubits" in written.text
    assert "![" not in page(report, pictures=False).text


def test_every_certifier_has_a_row_and_what_grows_a_picture(report):
    covered = {row.certifier: row for row in report.certifiers}
    every = {"circuit-taylor-2", "convnet-linear", "amplitude-shor", "fourier-linear"}
    assert every <= set(covered)
    assert all(row.images == 2 and row.ratio > 0 for row in report.certifiers)
    assert covered["convnet-linear"].certified == 1.0  # of two images that are easy
    growth = tuple(
        Scaling(what, "", sizes=(1, 2, 4), seconds=(1.0, 2.0, 4.0)) for what in ("layers", "qubits")
    )
    written = page(replace(report, growth=growth))
    assert "performance-certificates.png" in written.figures
    assert "4 qubits take ×2.00 of 2 qubits" in written.text
    assert "| circuit-taylor-2 | reup-0.2 |" in re.sub(" +", " ", written.text)


def test_a_loaded_machine_is_admitted(report):
    for load, told in ((0.1, False), (1.9, True), (None, False)):
        other = replace(report, machine=replace(report.machine, load=load))
        assert ("Other programs were running" in page(other, pictures=False).text) is told


def test_derived_numbers():
    row = Efficiency(8, 32, 50, 1, "forward", seconds=2.0, multiply_adds=10**9, peak=10**9)
    assert (row.floor_s, row.distance, row.gflops) == (1.0, 2.0, 1.0)
    scaling = Scaling("images", "", sizes=(1, 2, 16), seconds=(3.0, 6.0, 48.0))
    assert scaling.exponent == pytest.approx(1.0)
    assert Timing("x", 8, 50, 5, 1.0, 2.0).per_sample("gradient") == 0.4
    assert Timing("x", 8, 50).per_sample("gradient") is None
    assert [duration(s) for s in (2.5, 0.0123, 9.996e-4, 5e-9)] == [
        *("2.50 s", "12.3 ms", "1.00 ms", "5.00 ns")
    ]
    assert [number(x) for x in (0.123, 9.999, 12345)] == ["0.12", "10.0", "12,345"]


def test_sizes_that_no_circuit_has_are_refused():
    with pytest.raises(UsageError, match="qubits must be between 2 and 20"):
        Settings(qubits=(1,))
    with pytest.raises(UsageError, match="batch sizes"):
        Settings(batches=(0,))


def test_the_hook_names_the_command_and_imports_nothing_heavy():
    (spec,) = qbench_bench.qbench_commands()
    assert spec.name == "bench"
    assert spec.resolve() is bench
    code = "import sys, qbench_bench as p; list(p.qbench_commands()); print('torch' in sys.modules)"
    code += "; import qbench_bench.command; print('torch' in sys.modules, 'numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"] * 3


@pytest.mark.slow
def test_the_command_writes_page_and_json(tmp_path, monkeypatch):
    few = contenders(1)[:2]
    monkeypatch.setattr(Settings, "quick", lambda: TINY)
    monkeypatch.setattr("qbench_bench.contenders.contenders", lambda threads: few)
    out = tmp_path / "docs" / "performance.md"
    arguments = ["--quick", "--threads", "1", "--json", "--out", str(out)]
    result = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["command"].startswith("qbench bench --quick")
    assert str(tmp_path) not in out.read_text()
    assert sorted(path.name for path in (out.parent / "figures").iterdir()) == [
        *("performance-arithmetic.png", "performance-contenders.png", "performance-scaling.png")
    ]
