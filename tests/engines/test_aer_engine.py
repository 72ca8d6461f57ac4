"""Both circuits built natively in Qiskit: exact on Aer, and under the noise of IBM devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_cases import KINDS, circuits, inputs, needs_qiskit, random_weights, reference
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.datasets.base import load_data
from qbench.engines import create_engine, engine_devices
from qbench.engines.sampling import SampledEngine, standard_errors
from qbench.errors import UnknownNameError, Unsupported, UsageError
from qbench_engines import host
from qbench_engines.mottonen import gates, ry_angles
from qbench_quantum.models import Amplitude, ReUpload

SMALL = Circuit(3, 2, (2, 0))


@st.composite
def unit_vectors(draw: st.DrawFn) -> np.ndarray:
    n, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    entries = st.one_of(st.just(0.0), st.floats(-1, 1))
    values = draw(st.lists(entries, min_size=batch * 2**n, max_size=batch * 2**n))
    rows = np.array(values).reshape(batch, -1)
    rows[:, 0] += 1e-3 * (np.linalg.norm(rows, axis=1) < 1e-6)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(unit_vectors())
def test_ry_angles_prepare_real_amplitudes_with_their_signs(states: np.ndarray) -> None:
    n = states.shape[1].bit_length() - 1
    sequence = list(gates(n))
    assert len(sequence) == 2**n - 1
    assert sum(control is not None for _, control in sequence) == 2**n - 2
    for state, turns in zip(states, ry_angles(states), strict=True):
        psi = np.zeros((2,) * n)
        psi[(0,) * n] = 1
        for turn, (target, control) in zip(turns, sequence, strict=True):
            cos, sin = np.cos(turn / 2), np.sin(turn / 2)
            psi = np.moveaxis(np.tensordot([[cos, -sin], [sin, cos]], psi, (1, target)), 0, target)
            if control is not None:
                on = tuple(1 if axis == control else slice(None) for axis in range(n))
                axis = target - (control < target)
                psi[on] = np.flip(psi[on], axis)
        np.testing.assert_allclose(psi.ravel(), state, atol=1e-13)


@needs_qiskit
@settings(max_examples=20)
@given(circuits(), st.sampled_from(KINDS), st.integers(1, 4))
def test_aer_agrees_with_the_reference(circuit: Circuit, kind: str, batch: int) -> None:
    case = inputs(circuit, kind, batch)
    found = create_engine("aer").probabilities(circuit, *case)
    torch.testing.assert_close(found, reference(circuit, case), atol=1e-13, rtol=0)


@needs_qiskit
def test_states_in_float32_are_normalised_in_float64() -> None:
    circuit = Circuit(8, 2)
    angles, _ = inputs(circuit, KINDS[1])
    x = load_data("glyphs").test.x[:3]
    single, double = (part / part.norm(dim=1, keepdim=True) for part in (x, x.double()))
    for name in ("aer", "pennylane", "pennylane:qiskit.aer"):
        found = create_engine(name).probabilities(circuit, angles, single)
        assert (found.sum(1) - 1).abs().max() < 1e-12
        torch.testing.assert_close(found, reference(circuit, (angles, double)), atol=1e-7, rtol=0)


def test_states_are_handed_on_as_unit_vectors_in_float64() -> None:
    angles, state = inputs(SMALL, KINDS[3], batch=50)
    assert state is not None
    read = host.read("aer", SMALL, angles.float(), (1.0001 * state).float())
    assert read.state is not None
    np.testing.assert_allclose(np.linalg.norm(read.state, axis=1), 1, atol=1e-15)
    assert (read.batch, len(read.angles), read.angles.dtype) == (50, 1, np.float64)


@needs_qiskit
def test_large_batches_go_in_parts_and_an_empty_one_nowhere(monkeypatch) -> None:
    from qbench_engines import aer

    case = inputs(SMALL, KINDS[2], batch=7)
    whole = create_engine("aer").probabilities(SMALL, *case)
    monkeypatch.setattr(aer, "CHUNK", 3)
    assert torch.equal(create_engine("aer").probabilities(SMALL, *case), whole)
    assert create_engine("aer").probabilities(SMALL, case[0][:0]).shape == (0, 4)
    assert create_engine("pennylane").probabilities(SMALL, case[0][:0]).shape == (0, 4)


@needs_qiskit
def test_one_circuit_serves_all_images_and_weights() -> None:
    from qbench_engines.qiskit_circuits import bind, measured, parametrised

    program = parametrised(Circuit(8, 32), False)
    assert program.num_parameters == 3 * 8 * 32
    assert parametrised(Circuit(8, 32), False) is program
    amplitude = parametrised(Circuit(8, 32), True)
    assert amplitude.count_ops()["ry"] == 255
    assert amplitude.count_ops()["cx"] == 254 + 256
    angles, state = inputs(SMALL, KINDS[3])
    bound = bind(parametrised(SMALL, True), host.read("aer", SMALL, angles, state))
    assert {parameter.vector.name for parameter in bound.values} == {"amplitudes"}
    read_out = measured(SMALL, False)
    assert [
        (read_out.find_bit(gate.qubits[0]).index, read_out.find_bit(gate.clbits[0]).index)
        for gate in read_out.data
        if gate.operation.name == "measure"
    ] == [(2, 0), (0, 1)]


@needs_qiskit
@pytest.mark.parametrize("name", ["aer", "aer:manila"])
def test_no_gradients_and_no_silent_zeros(name: str) -> None:
    engine = create_engine(name)
    assert not engine.differentiable
    angles, state = inputs(SMALL, KINDS[2])
    assert state is not None
    for case in ((angles.clone().requires_grad_(), state), (angles, state.requires_grad_())):
        with pytest.raises(Unsupported, match=f"engine '{name}' gives no gradients"):
            engine.probabilities(SMALL, *case)
        with torch.no_grad():
            assert not engine.probabilities(SMALL, *case).requires_grad


@needs_qiskit
@pytest.mark.parametrize("build", [ReUpload, Amplitude])
def test_the_models_run_there(build: type) -> None:
    model = random_weights(build())
    x = load_data("glyphs").test.x[:5]
    expected = model(x)
    model.engine = create_engine("aer")  # type: ignore[assignment]
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, atol=2e-6, rtol=0)
    with pytest.raises(Unsupported, match="--craft-on ideal"):
        model(x)


@needs_qiskit
def test_shots_are_within_four_standard_errors() -> None:
    case = inputs(SMALL, KINDS[0], batch=30)
    engine = create_engine("aer", 2000, 5)
    assert isinstance(engine, SampledEngine)
    assert not engine.differentiable
    exact = reference(SMALL, case)
    error = expectations(engine.probabilities(SMALL, *case)) - expectations(exact)
    assert (error.abs() <= 4 * standard_errors(exact, 2000)).all()
    assert (error.abs() > standard_errors(exact, 2000)).any()


@needs_qiskit
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ((torch.zeros(1, 3, 3), None), r"angles \(1, 3, 3\) should be \(2, 3, 3\)"),
        ((torch.full((2, 3, 3), torch.nan), None), "angles are not finite"),
        ((torch.zeros(2, 3, 3), torch.ones(2, 4)), r"state \(2, 4\) should be real \(batch, 8\)"),
        ((torch.zeros(2, 3, 3), torch.eye(8) * 1j), "should be real"),
        ((torch.zeros(2, 3, 3), torch.ones(2, 8)), "state 0 has norm 2.82843, should be 1"),
        ((torch.zeros(3, 2, 3, 3), torch.eye(8)[:2]), "3 sets of angles for 2 states"),
    ],
)
def test_inputs_that_do_not_fit(case: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_engine("aer").probabilities(SMALL, *case)


@needs_qiskit
@pytest.mark.parametrize(("device", "circuit"), [("manila", SMALL), ("prague", Circuit(4, 2))])
def test_a_devices_noise_is_what_aer_itself_samples(device: str, circuit: Circuit) -> None:
    from qiskit_aer import AerSimulator

    from qbench_engines.backends import fake_backend
    from qbench_engines.compiling import compiled

    case = inputs(circuit, KINDS[0], batch=2)
    engine = create_engine(f"aer:{device}")
    assert not engine.exact
    found = engine.probabilities(circuit, *case)
    ideal = reference(circuit, case)
    assert (found - ideal).abs().max() > 0.01  # the noise is there
    torch.testing.assert_close(found.sum(1), torch.ones(2).double())
    # The whole device as Aer models it, measured, with readout errors.
    backend, shots = fake_backend(device), 40_000
    program = compiled(circuit, False, backend)
    simulator = AerSimulator.from_backend(backend, method="density_matrix")
    columns = case[0].flatten(1).T.tolist()
    binds = [{parameter: columns[parameter.index] for parameter in program.parameters}]
    result = simulator.run([program], parameter_binds=binds, shots=shots, seed_simulator=1).result()
    frequencies = torch.zeros_like(found)
    for row in range(2):
        for outcome, count in result.get_counts(row).items():
            frequencies[row, int(outcome[::-1], 2)] = count / shots
    errors = (found * (1 - found) / shots).sqrt()
    assert ((frequencies - found).abs() <= 4 * errors).all()
    assert ((frequencies - ideal).abs() > 4 * errors).any()


@needs_qiskit
def test_a_noisy_circuit_is_computed_once_and_each_for_itself(monkeypatch) -> None:
    from qbench_engines import noisy

    noisy.noisy_circuit.cache_clear()
    computed, run = [], noisy.run

    def counted(simulator, bound, measured, batch):
        computed.extend([batch] * batch)
        return run(simulator, bound, measured, batch)

    monkeypatch.setattr(noisy, "run", counted)
    monkeypatch.setattr(noisy, "JOB", 3)
    angles, state = inputs(SMALL, KINDS[2], batch=2)
    assert state is not None
    cases = [
        (angles, state),
        (angles.flip(0), state),
        (angles, None),
        (angles.repeat(2, 1, 1, 1), None),
    ]
    engine = create_engine("aer:manila")
    first = [engine.probabilities(SMALL, *case) for case in cases]
    assert len(computed) == 2 + 2 + 2
    assert torch.equal(first[3], first[2].repeat(2, 1))
    sampled = create_engine("aer:manila", 100, 3)
    draws = [sampled.probabilities(SMALL, *cases[0]) for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    assert len(computed) == 6
    other = Circuit(3, 2, (0, 2))
    create_engine("aer:manila").probabilities(other, angles)
    create_engine("aer:lima").probabilities(SMALL, angles)
    assert len(computed) == 10


@needs_qiskit
def test_a_job_of_many_noisy_circuits_gives_each_what_it_has_alone(monkeypatch) -> None:
    from qbench_engines import noisy

    angles, state = inputs(SMALL, KINDS[2], batch=7)
    monkeypatch.setattr(noisy, "JOB", 3)
    for states in (None, state):
        together = create_engine("aer:manila").probabilities(SMALL, angles, states)
        noisy.noisy_circuit.cache_clear()
        alone = [
            create_engine("aer:manila").probabilities(
                SMALL, angles[row : row + 1], None if states is None else states[row : row + 1]
            )
            for row in range(7)
        ]
        assert torch.equal(together, torch.cat(alone))
    monkeypatch.setattr(noisy, "KNOWN", 4)
    create_engine("aer:manila").probabilities(SMALL, angles)
    assert len(noisy.noisy_circuit(SMALL, False, "manila", 1.0).known) == 4


@needs_qiskit
@pytest.mark.parametrize("name", ["aer", "aer:manila"])
def test_a_circuit_without_a_free_angle_is_the_same_for_the_whole_batch(name) -> None:
    circuit = Circuit(2, 1, (0,), constants=tuple((index, 0.5) for index in range(6)))
    angles = torch.full((3, 1, 2, 3), 0.5, dtype=torch.float64)
    angles[1] += 1e-6  # within rounding of float32, and so another row
    found = create_engine(name).probabilities(circuit, angles)
    assert found.shape == (3, 2)
    assert torch.equal(found, found[:1].expand(3, 2))


@needs_qiskit
def test_readout_errors_are_of_the_right_qubit_and_direction() -> None:
    from qiskit.circuit.library import Measure
    from qiskit.transpiler import InstructionProperties, Target

    from qbench_engines.noisy import _readout

    target = Target(num_qubits=2)
    errors = {(0,): InstructionProperties(error=0.1), (1,): InstructionProperties(error=0.2)}
    target.add_instruction(Measure(), errors)
    found = _readout(target, (1, 0))  # qubit 1 is the highest bit
    one, other = np.array([[0.8, 0.2], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(found, np.kron(one, other))


@needs_qiskit
def test_amplitude_encoding_under_noise_keeps_most_of_the_distribution() -> None:
    case = inputs(SMALL, KINDS[3])
    found = create_engine("aer:manila").probabilities(SMALL, *case)
    distance = (found - reference(SMALL, case)).abs().sum(1) / 2
    assert (distance > 0.005).all()
    assert (distance < 0.2).all()
    sampled = create_engine("aer:manila", 3000, 1)
    assert not sampled.exact
    error = expectations(sampled.probabilities(SMALL, *case)) - expectations(found)
    assert (error.abs() <= 4 * standard_errors(found, 3000)).all()


@needs_qiskit
def test_compiled_circuits_are_kept_and_read_back(tmp_path: Path, monkeypatch) -> None:
    from qbench_engines import compiling
    from qbench_engines.backends import fake_backend

    monkeypatch.setenv("QBENCH_CIRCUITS", str(tmp_path))
    backend = fake_backend("quito")
    first = compiling.compiled(SMALL, True, backend)
    about = first.metadata
    assert about["circuit"]["qubits"] == 3
    assert about["backend"] == "fake_quito"
    assert about["two_qubit_gates"] == first.num_nonlocal_gates()
    assert about["estimated_success"] == compiling.estimated_success(first, backend.target)
    assert set(first.count_ops()) <= {"rz", "sx", "x", "cx", "measure"}
    (file,) = tmp_path.glob("fake_quito-*.qpy")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("compiled again")

    with monkeypatch.context() as patch:
        patch.setattr(compiling, "generate_preset_pass_manager", refuse)
        again = compiling.compiled(SMALL, True, backend)
        assert again.metadata == about
        assert {p.name for p in again.parameters} == {p.name for p in first.parameters}
        with pytest.raises(AssertionError, match="compiled again"):
            compiling.compiled(SMALL, False, backend)
    file.write_bytes(b"damaged")
    assert compiling.compiled(SMALL, True, backend).metadata == about
    assert file.stat().st_size > 100


@needs_qiskit
def test_of_several_layouts_the_most_successful_is_taken(tmp_path: Path, monkeypatch) -> None:
    from qbench_engines import compiling
    from qbench_engines.backends import fake_backend
    from qbench_engines.qiskit_circuits import measured

    monkeypatch.setenv("QBENCH_CIRCUITS", str(tmp_path))
    backend, circuit = fake_backend("guadalupe"), Circuit(6, 3)
    success = [
        compiling.estimated_success(
            compiling._transpiled(measured(circuit, False), backend, seed), backend.target
        )
        for seed in compiling.SEEDS
    ]
    assert len(set(success)) > 1
    best = compiling.compiled(circuit, False, backend)
    assert best.metadata["estimated_success"] == max(success)


@needs_qiskit
def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch) -> None:
    from qbench_engines import compiling
    from qbench_engines.backends import fake_backend

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QBENCH_CIRCUITS", str(tmp_path / "file" / "folder"))
    assert compiling.compiled(SMALL, False, fake_backend("lima")).num_parameters


@needs_qiskit
def test_estimated_success_is_the_product_of_what_works() -> None:
    from qiskit import QuantumCircuit

    from qbench_engines.backends import fake_backend
    from qbench_engines.compiling import estimated_success

    target = fake_backend("manila").target
    program = QuantumCircuit(5, 1)
    program.sx(1)
    program.cx(1, 2)
    program.cx(1, 2)
    program.barrier()
    program.measure(2, 0)
    expected = (
        (1 - target["sx"][(1,)].error)
        * (1 - target["cx"][(1, 2)].error) ** 2
        * (1 - target["measure"][(2,)].error)
    )
    assert estimated_success(program, target) == pytest.approx(expected, rel=1e-12)


@needs_qiskit
def test_unknown_and_small_devices() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown IBM snapshot 'marakesh'.*marr"):
        create_engine("aer:marakesh")
    assert create_engine("aer:fake_manila").name == "aer:manila"
    angles, _ = inputs(Circuit(8, 1), KINDS[0])
    with pytest.raises(UsageError, match="'aer:manila' has 5 qubits, the circuit needs 8"):
        create_engine("aer:manila").probabilities(Circuit(8, 1), angles)


@needs_qiskit
def test_the_fake_backends_are_listed_with_their_sizes_and_errors() -> None:
    rows = engine_devices("aer")
    found = {row["name"]: row for row in rows}
    assert {"marrakesh", "fez", "torino", "brisbane", "manila"} <= set(found)
    assert found["marrakesh"] == found["marrakesh"] | {
        "qubits": 156,
        "processor": "Heron r2",
        "gate": "cz",
    }
    assert 1e-4 < found["marrakesh"]["gate_error"] < 1e-2
    assert 1e-3 < found["marrakesh"]["readout_error"] < 0.1
    assert found["brisbane"]["gate"] == "ecr"
    assert [row["qubits"] for row in rows] == sorted((r["qubits"] for r in rows), reverse=True)


@needs_qiskit
def test_only_devices_that_run_circuits_are_listed() -> None:
    from qbench_engines.backends import backend_names

    listed = {row["name"] for row in engine_devices("aer")}
    left_out = backend_names().keys() - listed
    # One has one qubit, one no gate that works, and nine do not say how they measure.
    assert {"armonk", "kyoto", "rochester", "london"} <= left_out
    assert (len(backend_names()), len(left_out)) == (60, 11)
    circuit = Circuit(2, 1, (0, 1))
    for name in sorted(left_out):
        with pytest.raises(UsageError, match=rf"IBM's snapshot of '{name}' .*choose another"):
            create_engine(f"aer:{name}").probabilities(circuit, inputs(circuit, KINDS[0])[0])


@needs_qiskit
@pytest.mark.slow
def test_every_listed_device_runs_a_circuit_and_shows_its_signal(monkeypatch) -> None:
    from qbench_engines import compiling

    monkeypatch.setattr(compiling, "SEEDS", range(1, 3))
    circuit = Circuit(4, 1, (0, 1, 2, 3))
    angles = torch.full((1, *circuit.angles_shape), 0.4, dtype=torch.float64)
    exact = TorchEngine().probabilities(circuit, angles)
    signal = float((exact - 1 / 16).abs().sum())
    for row in engine_devices("aer"):
        found = create_engine(f"aer:{row['name']}").probabilities(circuit, angles)
        # The worst, lagos, reads one outcome in six wrong; kyoto, left out, gives 0.
        assert float((found - 1 / 16).abs().sum()) > 0.3 * signal, row["name"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch) -> None:
    for missing, engine, extra in (
        ("qiskit_aer", "aer", "qiskit"),
        ("qiskit_ibm_runtime", "aer:manila", "qiskit"),
        ("pennylane", "pennylane", "pennylane"),
        ("pennylane_qiskit", "pennylane:qiskit.aer", "qiskit"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            words = rf"engine '{engine}' needs {missing}, .*: pip install .*\[{extra}\]"
            with pytest.raises(UsageError, match=words):
                create_engine(engine)


class _Terminal:
    def __init__(self, is_terminal: bool) -> None:
        self.text, self.is_terminal = "", is_terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_long_evaluations_show_a_bar_on_a_terminal_only(is_terminal: bool, monkeypatch) -> None:
    from qbench_engines.progress import shown

    stream = _Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "__stderr__", stream)
    assert list(shown(range(20), "aer:marrakesh")) == list(range(20))
    assert ("aer:marrakesh" in stream.text) == is_terminal
    before = stream.text
    assert list(shown(range(3), "aer:marrakesh")) == [0, 1, 2]
    assert stream.text == before  # not worth a bar
    monkeypatch.setattr(sys, "__stderr__", None)  # somebody else draws there
    assert list(shown(range(20), "aer:marrakesh")) == list(range(20))
    assert stream.text == before
