"""The statevector engine against the reference engine, PennyLane and analytic cases."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.errors import UsageError
from qbench_engines.statevector import StatevectorEngine, jacobians, quadratic_forms

PAPER = Circuit(8, 32)
INPUTS = ("angles", "shared angles and states", "angles and states")


def example(
    circuit: Circuit, batch: int, inputs: str = INPUTS[0], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    lead = () if inputs == INPUTS[1] else (batch,)
    angles = 3 * torch.randn(*lead, *circuit.angles_shape, generator=generator, dtype=dtype)
    if inputs == INPUTS[0]:
        return angles.requires_grad_(), None
    state = torch.randn(batch, 2**circuit.qubits, generator=generator, dtype=dtype)
    state /= state.norm(dim=1, keepdim=True)
    return angles.requires_grad_(), state.requires_grad_()


def run(engine: Any, circuit: Circuit, angles: Tensor, state: Tensor | None) -> list[Tensor]:
    """Probabilities, and gradients of a fixed random projection of each sample's."""
    probabilities = engine.probabilities(circuit, angles, state)
    outcomes = 2 ** len(circuit.measured)
    weights = torch.randn(outcomes, generator=torch.Generator().manual_seed(2)).to(angles.dtype)
    wanted = [angles] if state is None else [angles, state]
    return [probabilities.detach(), *torch.autograd.grad((probabilities @ weights).sum(), wanted)]


def reference(circuit: Circuit, angles: Tensor, state: Tensor | None) -> list[Tensor]:
    doubles = [None if x is None else x.detach().double().requires_grad_() for x in (angles, state)]
    assert doubles[0] is not None
    return run(TorchEngine(), circuit, doubles[0], doubles[1])


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a.double() - b).abs().max() <= tolerance * b.abs().max()


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@st.composite
def circuits(draw: st.DrawFn, largest: int = 10) -> Circuit:
    n, layers = draw(st.integers(2, largest)), draw(st.integers(1, 5))
    wires = st.lists(st.integers(0, n - 1), min_size=1, max_size=4, unique=True)
    ranges = st.lists(st.integers(1, n - 1), min_size=layers, max_size=layers)
    return Circuit(n, layers, tuple(draw(wires)), tuple(draw(ranges)), draw(st.booleans()))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(circuits(), st.integers(1, 20), st.sampled_from(INPUTS))
def test_agrees_with_the_reference(circuit: Circuit, batch: int, inputs: str) -> None:
    angles, state = example(circuit, batch, inputs)
    found = run(StatevectorEngine(2), circuit, angles, state)
    # A gradient can vanish altogether (a layer whose outcome no angle changes): scale at least 1e-3
    expected = reference(circuit, angles, state)
    for a, b in zip(found, expected, strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max().clamp_min(1e-3)


@pytest.mark.parametrize("inputs", INPUTS)
def test_float64_is_as_exact_as_the_reference(inputs: str) -> None:
    for circuit in (Circuit(3, 2, (0, 2)), Circuit(7, 5, (6, 0)), Circuit(9, 4), Circuit(10, 3)):
        angles, state = example(circuit, 11, inputs, torch.float64)
        found = run(StatevectorEngine(2), circuit, angles, state)
        assert found[0].dtype == torch.float64
        assert_close(found, reference(circuit, angles, state), 1e-13)


@pytest.mark.parametrize("inputs", INPUTS)
def test_float32_error_over_32_layers(inputs: str) -> None:
    angles, state = example(PAPER, 50, inputs)
    found, expected = (
        run(StatevectorEngine(), PAPER, angles, state),
        reference(PAPER, angles, state),
    )
    assert_close(found, expected, 5e-6)  # about 1e-6 for values and 2e-6 for gradients
    assert (found[0].sum(1) - 1).abs().max() < 5e-6


@pytest.mark.slow
@pytest.mark.parametrize("n", [11, 13, 14, 16])
def test_large_circuits_agree_with_the_reference(n: int) -> None:
    circuit = Circuit(n, 3, (n - 1, 0, 2))
    for inputs in INPUTS:
        angles, state = example(circuit, 3, inputs)
        found = run(StatevectorEngine(2), circuit, angles, state)
        assert_close(found, reference(circuit, angles, state), 1e-5)


@pytest.mark.parametrize(
    ("n", "layers", "batch"), [(2, 1, 3), (3, 4, 3), (5, 2, 3), (8, 32, 2), (9, 9, 2), (10, 10, 2)]
)
def test_agrees_with_pennylane(n: int, layers: int, batch: int) -> None:
    qml = pytest.importorskip("pennylane")
    circuit = Circuit(n, layers, (0, 1))
    angles, _ = example(circuit, batch)

    @qml.qnode(qml.device("default.qubit"), interface="torch", diff_method="backprop")
    def node(weights: Tensor) -> Any:
        qml.StronglyEntanglingLayers(weights, wires=range(n))
        return qml.probs(wires=[0, 1])

    class PennyLane:
        def probabilities(self, circuit: Circuit, angles: Tensor, state: None) -> Tensor:
            return torch.stack([node(weights) for weights in angles])

    expected = run(PennyLane(), circuit, angles.detach().double().requires_grad_(), None)
    assert_close(run(StatevectorEngine(), circuit, angles, None), expected, 1e-5)


def test_one_rotation_has_a_known_distribution_and_gradient() -> None:
    # RY(θ) on wire 0; CNOT(0, 1) and CNOT(1, 0) then take |10> to |01>: P(01) = sin²(θ/2).
    circuit = Circuit(2, 1, (0, 1))
    angles = torch.zeros(7, 1, 2, 3, dtype=torch.float64)
    theta = torch.tensor([0, 0.3, math.pi / 2, math.pi, -2.0, 2 * math.pi, 9.0]).double()
    angles[:, 0, 0, 1] = theta
    angles.requires_grad_()
    found = StatevectorEngine().probabilities(circuit, angles)
    sine, zero = torch.sin(theta / 2) ** 2, torch.zeros(7)
    torch.testing.assert_close(
        found, torch.stack([1 - sine, sine, zero, zero], 1), atol=1e-15, rtol=0
    )
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), angles)
    torch.testing.assert_close(gradient[:, 0, 0, 1], torch.sin(theta) / 2, atol=1e-15, rtol=0)


@pytest.mark.parametrize(
    ("circuit", "every"), [(Circuit(4, 3, (1, 3)), 7), (Circuit(9, 2, (8, 3)), 29)]
)
def test_gradients_are_finite_differences_of_the_reference(circuit: Circuit, every: int) -> None:
    angles, state = example(circuit, 2, INPUTS[2])
    assert state is not None
    found = run(StatevectorEngine(), circuit, angles, state)[1:]
    step = 1e-5
    for which, gradient in enumerate(found):
        for index in range(0, gradient.numel(), every):
            values = []
            for sign in (1, -1):
                moved = [angles.detach().double(), state.detach().double()]
                moved[which].view(-1)[index] += sign * step
                moved = [x.requires_grad_() for x in moved]
                p = run(TorchEngine(), circuit, moved[0], moved[1])[0]
                weights = torch.randn(4, generator=torch.Generator().manual_seed(2)).double()
                values.append((p @ weights).sum())
            difference = (values[0] - values[1]) / (2 * step)
            assert abs(gradient.view(-1)[index] - difference) < 1e-5


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("circuit", [Circuit(8, 4), Circuit(5, 2, (4,)), Circuit(9, 2)])
def test_threads_change_no_bit(circuit: Circuit, inputs: str) -> None:
    angles, state = example(circuit, 70, inputs)
    expected = run(StatevectorEngine(1), circuit, angles, state)
    for threads in (2, 3, 7, None):
        assert_same(run(StatevectorEngine(threads), circuit, angles, state), expected)


@pytest.mark.parametrize("circuit", [Circuit(6, 4, (0, 5)), Circuit(9, 2)])
@pytest.mark.parametrize("inputs", [INPUTS[0], INPUTS[2]])
def test_neighbours_change_no_bit(circuit: Circuit, inputs: str) -> None:
    engine = StatevectorEngine(2)
    angles, state = example(circuit, 37, inputs)
    expected = run(engine, circuit, angles, state)
    order = torch.randperm(37, generator=torch.Generator().manual_seed(3))
    for picked in (order, order[:1], order[:16], order[5:22], torch.tensor([36, 36])):
        part = [None if x is None else x.detach()[picked].requires_grad_() for x in (angles, state)]
        assert part[0] is not None
        assert_same(run(engine, circuit, part[0], part[1]), [x[picked] for x in expected])


def test_shared_angles_are_repeated_angles() -> None:
    circuit, engine = Circuit(6, 5, (2, 4)), StatevectorEngine(2)
    angles, state = example(circuit, 35, INPUTS[1])
    repeated = angles.detach().expand(35, *angles.shape).requires_grad_()
    shared, each = run(engine, circuit, angles, state), run(engine, circuit, repeated, state)
    assert_same([shared[0], shared[2]], [each[0], each[2]])
    torch.testing.assert_close(shared[1], each[1].double().sum(0).float(), atol=0, rtol=1e-6)
    single = run(engine, circuit, angles.detach()[None].requires_grad_(), state)
    assert_same([single[0], single[1][0], single[2]], shared)


def test_one_state_serves_every_set_of_angles() -> None:
    circuit = Circuit(4, 2)
    angles, state = example(circuit, 19, INPUTS[2])
    assert state is not None
    one = state.detach()[:1].requires_grad_()
    found = run(StatevectorEngine(2), circuit, angles, one)
    assert_close(found, reference(circuit, angles, one), 1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("angle", [0, 1, 2])
@pytest.mark.parametrize(
    ("circuit", "layer"),
    [
        (Circuit(3, 2, (0, 1)), 0),
        (Circuit(3, 2, (0, 1)), 1),
        (Circuit(9, 2, (0, 1)), 1),
        (Circuit(2, 1, (0,)), 0),  # the ring moves wire 1 to wire 0: one outcome sees no phase of 1
    ],
)
def test_an_angle_that_is_no_number_spoils_its_sample_only(
    value: float, angle: int, circuit: Circuit, layer: int
) -> None:
    angles, _ = example(circuit, 20)
    clean = run(StatevectorEngine(), circuit, angles, None)
    spoilt = angles.detach().clone()
    spoilt[4, layer, 1, angle] = value
    found = run(StatevectorEngine(), circuit, spoilt.requires_grad_(), None)
    others = torch.arange(20) != 4
    assert all(x[4].isnan().all() for x in found)
    assert_same([x[others] for x in found], [x[others] for x in clean])


def test_a_state_that_is_no_number_spoils_its_sample_only() -> None:
    circuit = Circuit(3, 2, (0, 2))
    angles, state = example(circuit, 5, INPUTS[1])
    assert state is not None
    spoilt = state.detach().clone()
    spoilt[2, 7] = math.nan
    found = StatevectorEngine().probabilities(circuit, angles, spoilt)
    assert found.isnan().any(1).tolist() == [False, False, True, False, False]
    assert found[2].isnan().all()


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e7])
def test_large_angles_are_reduced_exactly(scale: float) -> None:
    circuit = Circuit(4, 3)
    angles = (example(circuit, 17)[0].detach() * scale).requires_grad_()
    found = run(StatevectorEngine(), circuit, angles, None)
    assert_close(found, reference(circuit, angles, None), 1e-5)


@pytest.mark.parametrize("measured", [(0,), (2, 0), (0, 1, 2, 3)])
def test_jacobians_are_those_of_autograd(measured: tuple[int, ...]) -> None:
    circuit = Circuit(4, 3, measured)
    generator = torch.Generator().manual_seed(4)
    angles = torch.randn(11, *circuit.angles_shape, generator=generator, dtype=torch.float64)
    scores, found = jacobians(circuit, angles)

    def reference(angles: Tensor) -> Tensor:
        return expectations(TorchEngine().probabilities(circuit, angles[None]))[0]

    assert torch.allclose(scores, torch.func.vmap(reference)(angles))
    expected = torch.stack([torch.autograd.functional.jacobian(reference, one) for one in angles])
    assert torch.allclose(found, expected.transpose(0, 1), rtol=0, atol=1e-12)


def test_only_what_is_asked_is_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench_engines.statevector import kernel

    computed = []

    def spy(*arguments: Any) -> None:
        by_angle, by_state = arguments[6:8]
        computed.append((len(by_angle), len(by_state)))
        backward(*arguments)

    backward = kernel.backward
    monkeypatch.setattr(kernel, "backward", spy)
    circuit, engine = Circuit(5, 3, (0, 1, 4)), StatevectorEngine()
    angles, state = example(circuit, 18, INPUTS[2])
    assert state is not None
    both = run(engine, circuit, angles, state)
    assert engine.probabilities(circuit, angles.detach(), state.detach()).grad_fn is None
    with torch.no_grad():
        found = engine.probabilities(circuit, angles, state)
    assert found.grad_fn is None
    assert torch.equal(found, both[0])
    weights = torch.randn(8, generator=torch.Generator().manual_seed(2))
    for wanted, expected in ((angles, both[1]), (state, both[2])):
        given = [x if x is wanted else x.detach() for x in (angles, state)]
        total = (engine.probabilities(circuit, given[0], given[1]) @ weights).sum()
        (gradient,) = torch.autograd.grad(total, wanted)
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
    assert set(computed) == {(18, 18), (18, 0), (0, 18)}


def test_the_backward_pass_can_run_twice_and_after_a_change_in_place() -> None:
    circuit = Circuit(4, 2)
    angles, _ = example(circuit, 3)
    found = StatevectorEngine().probabilities(circuit, angles)[:, 3].sum()
    first = torch.autograd.grad(found, angles, retain_graph=True)
    with torch.no_grad():
        angles.zero_()
    assert_same(list(torch.autograd.grad(found, angles)), list(first))


def test_precision_and_layout_of_the_inputs() -> None:
    circuit = Circuit(3, 2, (0, 2))
    angles, state = example(circuit, 6, INPUTS[2])
    assert state is not None
    expected = run(StatevectorEngine(), circuit, angles, state)
    strided = angles.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0).requires_grad_()
    assert_same(run(StatevectorEngine(), circuit, strided, state), expected)
    double = state.detach().double().requires_grad_()
    found = run(StatevectorEngine(), circuit, angles, double)
    assert [x.dtype for x in found] == [torch.float32, torch.float32, torch.float64]
    assert_same(found[:2], expected[:2])
    assert StatevectorEngine().probabilities(circuit, angles[:0]).shape == (0, 4)


def test_quadratic_forms_give_the_expectations() -> None:
    for circuit in (Circuit(3, 2, (2, 0)), Circuit(6, 7, (1, 5, 0)), Circuit(9, 2, (8,))):
        angles, state = example(circuit, 9, INPUTS[1], torch.float64)
        assert state is not None
        forms = quadratic_forms(circuit, angles)
        assert forms.shape == (len(circuit.measured), 2**circuit.qubits, 2**circuit.qubits)
        assert torch.equal(forms, forms.mT)
        found = torch.einsum("bi,kij,bj->bk", state, forms, state)
        expected = expectations(TorchEngine().probabilities(circuit, angles, state))
        torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)
        single = quadratic_forms(circuit, angles.float(), threads=1)
        torch.testing.assert_close(single.double(), forms, atol=1e-5, rtol=0)


def test_wrong_inputs_are_named() -> None:
    circuit, engine = Circuit(3, 2, (0, 2)), StatevectorEngine()
    angles, state = example(circuit, 4, INPUTS[2])
    assert state is not None
    for arguments, message in (
        ((angles[:, :1],), r"angles \(4, 1, 3, 3\) should be \(2, 3, 3\)"),
        ((angles.half(),), "float16"),
        ((angles.to("meta"),), "CPU"),
        ((angles, state[:, :4]), r"state \(4, 4\) should be real \(batch, 8\)"),
        ((angles, state[:3]), "4 sets of angles for 3 states"),
    ):
        with pytest.raises(UsageError, match=message):
            engine.probabilities(circuit, *arguments)
    with pytest.raises(UsageError, match="0 threads"):
        StatevectorEngine(0)


def test_many_callers_at_once() -> None:
    circuit = Circuit(5, 4)
    angles, _ = example(circuit, 40)
    expected = run(StatevectorEngine(1), circuit, angles, None)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(run, StatevectorEngine(3), circuit, angles, None) for _ in range(20)]
    for job in jobs:
        assert_same(job.result(), expected)


def python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout + result.stderr


def test_numba_is_loaded_on_first_use_only() -> None:
    code = "import sys, qbench_engines.statevector; print('numba' in sys.modules)"
    assert python(code).strip() == "False"


RUN = """
import logging, os, sys, torch
logging.basicConfig(level=logging.INFO)
from qbench.circuits.circuit import Circuit
from qbench_engines.statevector import StatevectorEngine
def run():
    angles = torch.ones(40, 1, 2, 3, requires_grad=True)
    StatevectorEngine(2).probabilities(Circuit(2, 1, (0,)), angles).sum().backward()
run()
"""


@pytest.mark.slow
def test_compilation_is_announced_once_and_cached(tmp_path: Path) -> None:
    first, second = (python(RUN, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.count("compiling the circuit kernel for float32") == 1
    assert "compiling" not in second


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_its_own_threads() -> None:
    code = RUN + "child = os.fork()\nrun()\nif child: print('status', os.waitpid(child, 0)[1])"
    assert "status 0" in python(code)


def test_cached_code_depends_on_every_source_file() -> None:
    from qbench_engines.statevector import kernel, lanes, rotations

    text = "".join(inspect.getsource(module) for module in (lanes, rotations))
    for entry in (kernel.forward, kernel.backward):
        sources = inspect.getclosurevars(entry.py_func).nonlocals["sources"]
        assert sources == hashlib.sha256(text.encode()).hexdigest()
