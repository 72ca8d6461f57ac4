"""PennyLane devices as engines, and the models as a PennyLane user knows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_cases import (
    KINDS,
    circuits,
    gradients,
    inputs,
    needs_pennylane,
    needs_qiskit,
    random_weights,
    reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.datasets.base import load_data
from qbench.engines import create_engine, engine_devices
from qbench.engines.sampling import SampledEngine, standard_errors
from qbench.errors import UnknownNameError, Unsupported, UsageError
from qbench.records.store import RunStore
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

pytestmark = needs_pennylane
GRADIENTS = ("pennylane", "pennylane:lightning.qubit", "pennylane:default.mixed")
SHIFTS = ("pennylane:reference.qubit", pytest.param("pennylane:qiskit.aer", marks=needs_qiskit))


@pytest.mark.parametrize("name", GRADIENTS)
@settings(max_examples=8)
@given(circuit=circuits(largest=4), kind=st.sampled_from(KINDS), batch=st.integers(1, 3))
def test_values_and_gradients_are_those_of_the_reference(
    name: str, circuit: Circuit, kind: str, batch: int
) -> None:
    engine, case = create_engine(name), inputs(circuit, kind, batch)
    assert engine.exact
    assert engine.differentiable
    found = engine.probabilities(circuit, *case)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, reference(circuit, case), atol=1e-10, rtol=0)
    expected = gradients(TorchEngine(), circuit, case)
    for a, b in zip(gradients(engine, circuit, case), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)  # lightning rounds to float32


@pytest.mark.parametrize("name", GRADIENTS[:2])
def test_only_the_state_or_only_the_angles_may_want_a_gradient(name: str) -> None:
    circuit, engine = Circuit(3, 2, (0, 2)), create_engine(name)
    angles, state = inputs(circuit, KINDS[2])
    assert state is not None
    by_angle, by_state = gradients(TorchEngine(), circuit, (angles, state))
    weights = torch.randn(4, generator=torch.Generator().manual_seed(2)).double()
    for wanted, expected in ((angles, by_angle), (state, by_state)):
        leaf = wanted.clone().requires_grad_()
        case = (leaf, state) if wanted is angles else (angles, leaf)
        found = engine.probabilities(circuit, *case)
        torch.testing.assert_close(
            found.detach(), reference(circuit, (angles, state)), atol=1e-7, rtol=0
        )
        (gradient,) = torch.autograd.grad((found @ weights).sum(), leaf)
        torch.testing.assert_close(gradient, expected, atol=1e-8, rtol=0)
    nothing = engine.probabilities(circuit, angles, state.requires_grad_())
    (zero,) = torch.autograd.grad((0 * nothing).sum(), state)
    assert torch.equal(zero, torch.zeros_like(state))


@pytest.mark.parametrize("name", SHIFTS)
@settings(max_examples=5)
@given(circuit=circuits(largest=4), kind=st.sampled_from(KINDS), batch=st.integers(1, 3))
def test_devices_with_parameter_shifts_only_evaluate(
    name: str, circuit: Circuit, kind: str, batch: int
) -> None:
    engine, case = create_engine(name), inputs(circuit, kind, batch)
    assert engine.exact
    assert not engine.differentiable
    found = engine.probabilities(circuit, *case)
    torch.testing.assert_close(found, reference(circuit, case), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_gradient_that_is_not_given_is_refused_and_never_zero(name: str) -> None:
    circuit, engine = Circuit(2, 1, (0,)), create_engine(name)
    angles, state = inputs(circuit, KINDS[2])
    assert state is not None
    for case in ((angles.clone().requires_grad_(), state), (angles, state.requires_grad_())):
        with pytest.raises(Unsupported, match="only parameter shifts"):
            engine.probabilities(circuit, *case)
        with torch.no_grad():
            assert not engine.probabilities(circuit, *case).requires_grad


@pytest.mark.parametrize("build", [ReUpload, Amplitude])
@pytest.mark.parametrize("name", GRADIENTS[:2])
def test_the_models_run_there_with_their_input_gradients(build: type, name: str) -> None:
    model = random_weights(build())
    x = load_data("glyphs").test.x[:2]
    found = []
    for engine in (create_engine("torch"), create_engine(name)):
        model.engine = engine  # type: ignore[assignment]
        leaf = x.clone().requires_grad_()
        scores = model(leaf)
        assert scores.dtype == torch.float32
        found.append((scores, torch.autograd.grad(scores[:, 1].sum(), leaf)[0]))
    (scores, gradient), (theirs, their_gradient) = found
    torch.testing.assert_close(theirs, scores, atol=2e-6, rtol=0)
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(their_gradient, gradient, atol=1e-5, rtol=0)


@needs_qiskit
def test_a_device_that_can_only_sample_does_so_afresh_for_every_image_and_call() -> None:
    circuit, shots = Circuit(3, 2, (2, 0)), 3000
    angles, _ = inputs(circuit, KINDS[0], batch=1)
    angles = angles.repeat(6, 1, 1, 1)
    state = inputs(circuit, KINDS[3], batch=6)[1]
    engine = create_engine("pennylane:qiskit.basicsim", shots, 1)
    assert not engine.exact
    for case in ((angles, None), (angles[0], state)):
        exact = reference(circuit, case)
        found = engine.probabilities(circuit, *case)
        torch.testing.assert_close(found * shots, (found * shots).round(), atol=1e-8, rtol=0)
        error = expectations(found) - expectations(exact)
        assert (error.abs() <= 4 * standard_errors(exact, shots)).all()
        again = engine.probabilities(circuit, *case)
        assert not torch.equal(found, again)
    same = create_engine("pennylane:qiskit.basicsim", shots, 1).probabilities(circuit, angles)
    assert len(same.unique(dim=0)) > 3  # equal circuits, and yet no equal draws
    first = create_engine("pennylane:qiskit.basicsim", shots, 1).probabilities(circuit, angles)
    assert torch.equal(same, first)
    with pytest.raises(Unsupported, match="no gradients"):
        engine.probabilities(circuit, angles.clone().requires_grad_())


def test_shots_on_an_exact_device_are_drawn_from_its_probabilities() -> None:
    engine = create_engine("pennylane", 10, 3)
    assert isinstance(engine, SampledEngine)
    assert engine.name == "pennylane:default.qubit"
    assert engine.differentiable


@pytest.mark.parametrize("build", [ReUpload, SplitReUpload, Amplitude])
def test_a_torch_layer_is_the_model(build: type) -> None:
    from qbench_engines.pennylane_circuits import torch_layer

    model = random_weights(build())
    layer = torch_layer(model)
    assert isinstance(layer, nn.Module)
    assert {n: p.shape for n, p in layer.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    x = load_data("glyphs").test.x[:3].clone().requires_grad_()
    expected, found = model(x), layer(x)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found.float(), expected, atol=3e-6, rtol=0)
    torch.testing.assert_close(layer(x[0]).float(), expected[0], atol=3e-6, rtol=0)
    leaves = [x, *model.parameters()]
    wanted = torch.autograd.grad(expected[:, 2].sum(), leaves)
    theirs = torch.autograd.grad(found[:, 2].sum(), [x, *layer.parameters()])
    for a, b in zip(theirs, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    with torch.no_grad():  # a copy: training one leaves the other alone
        next(layer.parameters()).zero_()
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize(
    "device", ["lightning.qubit", pytest.param("qiskit.aer", marks=needs_qiskit)]
)
@pytest.mark.parametrize(
    ("model", "features"),
    [
        (ReUpload(3, 4, 2, 12), 12),
        (ReUpload(3, 4, 2, 10), 10),  # which does not divide the 36 rotations
        (SplitReUpload(4, 2, 3, 10), 10),  # with idle rotations in the last round
        (Amplitude(4, 2, 8), 8),
    ],
)
def test_a_torch_layer_on_another_device(model: nn.Module, features: int, device: str) -> None:
    from qbench_engines.pennylane_circuits import torch_layer

    model = random_weights(model)
    x = torch.rand(4, features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(torch_layer(model, device)(x), model(x), atol=1e-5, rtol=0)


def test_other_models_have_no_circuit() -> None:
    from qbench_engines.pennylane_circuits import torch_layer

    with pytest.raises(Unsupported, match="Linear is no"):
        torch_layer(nn.Linear(2, 2))


def test_the_devices_are_listed_with_what_they_can() -> None:
    rows = {row["name"]: row for row in engine_devices("pennylane")}
    assert rows["default.qubit"] == {
        "name": "default.qubit",
        "exact": True,
        "gradients": "backprop",
    }
    assert rows["lightning.qubit"]["gradients"] == "adjoint"
    assert "null.qubit" not in rows


@pytest.mark.parametrize(
    ("name", "shots", "error", "message"),
    [
        ("lightnin.qubit", None, UnknownNameError, "did you mean lightning.qubit"),
        ("null.qubit", None, UnknownNameError, "unknown device"),
        ("default.qubit", 0, UsageError, "0 shots"),
        pytest.param(
            "qiskit.basicsim", None, UsageError, "can only sample: give a", marks=needs_qiskit
        ),
    ],
)
def test_bad_devices_and_shots(
    name: str, shots: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_engine(f"pennylane:{name}", shots)


PLUGIN = """
import pennylane as qml
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

def layer():
    @qml.qnode(qml.device("default.qubit", wires=8), interface="torch", diff_method="backprop")
    def circuit(inputs, weights):
        qml.AmplitudeEmbedding(inputs, wires=range(8), normalize=True)
        qml.StronglyEntanglingLayers(weights, wires=range(8))
        return [qml.expval(qml.Z(k)) for k in range(4)]
    return qml.qnn.TorchLayer(circuit, {"weights": (1, 8, 3)})

@hookimpl
def qbench_models():
    return [ModelSpec(name="my-layer", description="a TorchLayer", factory=__name__ + ":layer",
                      family="quantum", structure="my-circuit",
                      recipe=Recipe(epochs=1, learning_rate=0.02))]
"""


@pytest.mark.slow
def test_a_plugin_file_may_hand_in_a_plain_torch_layer(qbench_cli, tmp_path: Path) -> None:
    (tmp_path / "my_layer.py").write_text(PLUGIN)
    result = qbench_cli(
        "run", "--plugin", "my_layer.py", "--models", "my-layer", "--attacks", "pgd:steps=5",
        "--eps", "0.1", "--seeds", "0", "--limit", "6", "--jobs", "1", "--json", "--out", "run",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["leaderboard"]["rows"]
    store = RunStore(tmp_path / "run")
    (attacked,) = [record for record in store.records() if record.task.kind == "attack"]
    assert row["model"] == "my-layer"
    assert attacked.status == "done"
    assert attacked.cost.gradient >= 5 * 6
    columns = store.columns(attacked)
    # PGD pushes every margin down, and uses the whole budget.
    assert (columns["adversarial_margin"] < columns["clean_margin"] - 1e-3).all()
    assert columns["linf"].max() == pytest.approx(0.1, rel=1e-5)
