"""The noise study: its page says what its results say, and its noise is what it is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench.errors import UsageError
from qbench.evaluation.crafting import ExpectedModel
from qbench.evaluation.scoring import predict

if any(find_spec(name) is None for name in ("qiskit_aer", "qiskit_ibm_runtime")):
    pytest.skip("needs Qiskit: the extra qiskit", allow_module_level=True)

import noise_figures
import noise_report
import noise_study

import qbench
from qbench.engines import create_engine
from qbench.engines.sampling import SampledEngine
from qbench_engines import host
from qbench_engines.depolarising import DepolarisedEngine, LocallyDepolarisedEngine
from qbench_engines.noisy import NoisyAerEngine, noisy_circuit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SMALL = Circuit(3, 2, (2, 0))


@pytest.fixture(autouse=True, scope="module")
def _circuits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_CIRCUITS", str(tmp_path_factory.mktemp("circuits")))
        yield


@pytest.fixture(scope="module")
def data() -> dict:
    return json.loads(noise_study.RESULTS.read_text())


def angles(circuit: Circuit = SMALL, batch: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(batch, *circuit.angles_shape, generator=generator).double()


# The page.


def test_the_page_says_what_the_results_say(data: dict) -> None:
    text = (DOCS / "noise.md").read_text()
    renewed = noise_report.page(text, data)
    assert renewed == text, "run 'python studies/noise/noise_study.py --redraw' to renew noise.md"
    changed = json.loads(json.dumps(data))
    changed["rows"][1]["worst"] += 0.2
    assert noise_report.page(text, changed) != text


def test_every_picture_is_there_and_shown() -> None:
    text = (DOCS / "noise.md").read_text()
    for name in noise_figures.FIGURES:
        assert (DOCS / "figures" / f"noise-{name}.png").is_file()
        assert f"](figures/noise-{name}.png)" in text


def test_the_results_hold_every_condition_of_the_study(data: dict) -> None:
    found = [
        (row["part"], row["model"], row["seed"], row["strength"], row["shots"])
        for row in data["rows"]
        if row["part"] != "classical"
    ]
    assert len(set(found)) == len(found)
    assert {entry for entry in found if entry[0] == "shots"} == {
        ("shots", name, seed, 1.0, shots)
        for name in noise_study.CIRCUITS
        for seed in noise_study.SEEDS
        for shots in (None, *noise_study.SHOTS)
    }
    assert {entry[1:4] for entry in found if entry[0] == "device"} == {
        (name, 0, factor) for name, (_, all_) in noise_study.DEVICES.items() for factor in all_
    }
    for row in data["rows"]:
        assert row["worst"] <= min(row["robust"].values()) + 0.03  # chosen by other draws
        assert row["tries"] <= row["worst"] + 1e-4


def test_a_block_that_is_missing_is_an_error(data: dict) -> None:
    with pytest.raises(ValueError, match="0 blocks 'answer'"):
        noise_report.page("no blocks here", data)


def test_ten_passes_without_an_attack(data: dict) -> None:
    # Twenty passes over two images: the second is misread once, in the second block of ten.
    clean = np.ones((20, 2), dtype=bool)
    clean[13, 1] = False
    assert noise_study.tried(clean) == 0.75
    assert noise_study.tried(clean[:1]) == 1.0
    for row in noise_report.pick(data["rows"], part="shots"):
        # All of ten passes are read correctly in at most as many images as one of them is.
        assert row["clean_tries"] <= row["clean"] + 1e-4
        assert row["shots"] is not None or row["clean_tries"] == row["clean"]


def test_guessing_ends_where_it_must() -> None:
    row = {"clean": 0.95, "adversarial": 0.2, "worst": 0.19}
    assert noise_report.guessing(row, 0.95) == pytest.approx(0.19)
    assert noise_report.guessing(row, 0.25) == pytest.approx(1 / 16)


# The noise.


@given(st.floats(0, 1), st.integers(0, 99))
def test_global_depolarising_scales_every_score_and_gradient(signal: float, seed: int) -> None:
    engine, circuit = DepolarisedEngine(TorchEngine(), signal), Circuit(3, 2, (2, 0, 1))
    found, exact = (angles(circuit, seed=seed).requires_grad_() for _ in range(2))
    noisy = expectations(engine.probabilities(circuit, found))
    plain = expectations(TorchEngine().probabilities(circuit, exact))
    torch.testing.assert_close(noisy, signal * plain, atol=1e-14, rtol=0)
    slopes = [torch.autograd.grad(s.sum(), a)[0] for s, a in ((noisy, found), (plain, exact))]
    torch.testing.assert_close(slopes[0], signal * slopes[1], atol=1e-14, rtol=0)
    sums = engine.probabilities(circuit, found).sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_noise_of_no_strength_is_none() -> None:
    exact = TorchEngine().probabilities(SMALL, angles())
    whole = DepolarisedEngine(TorchEngine(), 1.0)
    engines = (whole, LocallyDepolarisedEngine(0.0), NoisyAerEngine("manila", 0.0))
    for engine in engines:
        assert not engine.exact
        found = engine.probabilities(SMALL, angles())
        torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)


def test_local_depolarising_of_gates_that_can_be_counted() -> None:
    # Z_0 goes through its rotation and the CNOT, Z_1 through both rotations and the CNOT.
    circuit, p = Circuit(2, 1, (0, 1), (1,), closed=False), 0.07
    turned = angles(circuit)
    found = expectations(LocallyDepolarisedEngine(p).probabilities(circuit, turned))
    cos = turned[:, 0, :, 1].cos()
    expected = torch.stack([(1 - p) ** 2 * cos[:, 0], (1 - p) ** 3 * cos.prod(1)], 1)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    nothing = LocallyDepolarisedEngine(1.0).probabilities(circuit, turned)
    torch.testing.assert_close(nothing, torch.full_like(nothing, 1 / 4), atol=1e-12, rtol=0)


def test_local_depolarising_reaches_amplitude_encoding() -> None:
    # The preparation turns wire 0 once and controls two CNOTs by it; then come the layer's two.
    circuit, p = Circuit(2, 1, (0,), (1,), closed=False), 0.07
    turned, state = angles(circuit)[0], torch.eye(4).double()[:1]
    found = expectations(LocallyDepolarisedEngine(p).probabilities(circuit, turned, state))
    assert float(found) == pytest.approx((1 - p) ** 5 * float(turned[0, 0, 1].cos()), abs=1e-12)


def test_the_devices_own_noise_is_scale_one() -> None:
    device = create_engine("aer:manila").probabilities(SMALL, angles())
    found = NoisyAerEngine("manila", 1.0).probabilities(SMALL, angles())
    assert torch.equal(found, device)
    near = NoisyAerEngine("manila", 1 + 1e-7).probabilities(SMALL, angles())
    torch.testing.assert_close(near, device, atol=1e-6, rtol=0)
    job = noisy_circuit(SMALL, False, "manila").probabilities(
        host.read("aer", SMALL, angles(), None)
    )
    torch.testing.assert_close(torch.from_numpy(job), device, atol=1e-12, rtol=0)


def test_scaled_noise_takes_signal_in_proportion() -> None:
    exact = expectations(TorchEngine().probabilities(SMALL, angles()))
    lost = []
    for scale in (0.25, 0.5, 1.0, 2.0):
        noisy = NoisyAerEngine("manila", scale).probabilities(SMALL, angles())
        lost.append(float((expectations(noisy) - exact).abs().mean()) / scale)
    assert min(lost) > 0
    assert max(lost) < 1.25 * min(lost)  # first order, and a little saturation


def test_scaling_multiplies_rates_and_caps_readout() -> None:
    from qiskit.circuit.library import Measure, SXGate
    from qiskit.transpiler import InstructionProperties, QubitProperties, Target

    from qbench_engines.noisy import scaled

    target = Target(qubit_properties=[QubitProperties(3e-4, 2e-4), QubitProperties(None, 1e-4)])
    gate = {(0,): InstructionProperties(4e-8, 1e-3), (1,): None}
    read = {(0,): InstructionProperties(1e-6, 0.1), (1,): InstructionProperties(1e-6, 0.3)}
    target.add_instruction(SXGate(), gate)
    target.add_instruction(Measure(), read)
    found = scaled(target, 4.0)
    assert [(q.t1, q.t2) for q in found.qubit_properties] == [(7.5e-5, 5e-5), (None, 2.5e-5)]
    assert found["sx"][0,].error == pytest.approx(4e-3)
    assert found["sx"][0,].duration == 4e-8
    assert found["sx"][1,] is None
    assert found["measure"][0,].error == pytest.approx(0.4)
    assert found["measure"][1,].error == 0.5
    still = scaled(target, 0.0)
    assert [q.t2 for q in still.qubit_properties] == [np.inf, np.inf]
    assert (still["sx"][0,].error, still["measure"][1,].error) == (0, 0)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_that_are_none(strength: float) -> None:
    with pytest.raises(UsageError, match="give 0 to 1"):
        DepolarisedEngine(TorchEngine(), strength)
    with pytest.raises(UsageError, match="give 0 to 1"):
        LocallyDepolarisedEngine(strength)
    if not strength > 0:
        with pytest.raises(UsageError, match=r"'aer:manila': noise times .* give a factor from 0"):
            NoisyAerEngine("manila", strength)


# The measurement.


def test_passes_are_as_often_right_as_they_should_be() -> None:
    # Two wires: ⟨Z_0⟩ > ⟨Z_1⟩ where outcome 01 is read, the other way round where 10 is.
    shown = torch.tensor([[0.0, 0.8, 0.2, 0.0], [0.0, 1.0, 0.0, 0.0]])
    y = torch.tensor([0, 1])
    once = noise_study.passes(shown, y, 1, seed=0)
    assert once.shape == (noise_study.PASSES, 2)
    assert once[:, 0].mean() == pytest.approx(0.8, abs=0.16)
    assert 0 < once[:, 0].mean() < 1
    assert not once[:, 1].any()
    assert noise_study.passes(shown, y, None, seed=0).tolist() == [[True, False]]
    assert noise_study.passes(shown, y, 10_000, seed=0)[:, 0].all()


def test_the_worst_attack_is_not_the_luckiest() -> None:
    generator = np.random.default_rng(0)
    lucky = {str(i): generator.random((100, 2000)) < 0.5 for i in range(6)}
    once, always = noise_study.worst(lucky)
    assert once.mean() == pytest.approx(0.5, abs=0.01)
    assert np.min([found.mean(0) for found in lucky.values()], 0).mean() < 0.45
    assert always.mean() == pytest.approx(0.5**10, abs=0.001)
    lucky["strong"] = generator.random((100, 2000)) < 0.05
    assert noise_study.worst(lucky)[0].mean() == pytest.approx(0.05, abs=0.005)


def test_without_shots_the_worst_attack_is_the_smallest() -> None:
    right = {"a": np.array([[True, True, False]]), "b": np.array([[True, False, False]])}
    once, always = noise_study.worst(right)
    assert once.tolist() == always.tolist() == [1, 0, 0]


def test_an_image_is_robust_in_passes_that_read_it_correctly_both_ways() -> None:
    half = np.tile([[True], [False]], (50, 2))
    always = np.ones((100, 2), bool)
    row = noise_study.summary(half, {"ideal pgd": always, "square": half})
    assert (row["clean"], row["robust"]) == (0.5, {"ideal pgd": 0.5, "square": 0.25})
    assert (row["ideal"], row["worst"], row["tries"]) == (0.5, 0.25, 0)
    assert row["worst_low"] < 0.25 < row["worst_high"]


def test_expectation_over_transformation_sees_eight_times_the_shots(monkeypatch) -> None:
    seen = []

    def attacked(name: str, model: torch.nn.Module, x: Tensor, *_: Tensor, **__: int) -> Tensor:
        seen.append((name, model.engine.shots))
        return x

    monkeypatch.setattr(noise_study, "attacked", attacked)
    model, x = qbench.load_model("reup-hw4"), torch.zeros(1, 256)
    found = noise_study.on_the_samples(model, model.engine, x, torch.zeros(1), 16)
    assert dict(zip(found, seen, strict=True)) == {
        "pgd": ("pgd", 16),
        "pgd eot": ("pgd", 128),
        "square": ("square", 16),
    }


def test_a_pass_of_many_shots_is_the_mean_of_many_passes() -> None:
    model, x = qbench.load_model("reup-hw4"), qbench.load_dataset().test.x[:4]
    engine = model.engine
    mean = ExpectedModel(noise_study.on(model, SampledEngine(engine, 10, 0)), 8)
    single = noise_study.on(model, SampledEngine(engine, 80, 1))
    spreads, slopes = [], []
    for seen in (mean, single):
        point = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(seen(point).sum(), point)[0])
        with torch.no_grad():
            spreads.append(torch.stack([seen(x) for _ in range(400)]).std(0))
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(*spreads, atol=0.005, rtol=0.25)
    assert model.engine is engine


@pytest.mark.slow
def test_noise_fools_square_and_not_the_ideal_simulator() -> None:
    model, test = qbench.load_model("reup"), qbench.load_dataset().test
    x, y = test.x[:40], test.y[:40]
    sets = {
        "ideal pgd": noise_study.attacked("pgd", model, x, y),
        "square": noise_study.on_the_samples(model, model.engine, x, y, 256)["square"],
    }
    row = noise_study.measured(model, model.engine, x, y, sets, 256)
    assert row["robust"]["square"] > row["robust"]["ideal pgd"] + 0.2
    assert row["worst"] <= row["ideal"] + 0.02
    exact = noise_study.measured(model, model.engine, x, y, sets, None)
    predicted = predict(model, x).argmax(1)
    assert exact["clean"] == pytest.approx(float((predicted == y).double().mean()))
