"""`ibm:fake_NAME`: the same path in this process, with the noise of a device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine
from qbench.engines import create_engine, engine_devices
from qbench.errors import UnknownNameError, Unsupported, UsageError
from qbench.interfaces import Engine
from qbench.plugin_files import PluginFile
from qbench.records.record import Record
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench_hardware.circuits import circuits_of
from qbench_hardware.interface import Job, JobEngine

MODELS = Path(__file__).with_name("hardware_models.py")
FILES = (PluginFile.read(MODELS),)


def _arguments(engine: str, *more: str) -> list[str]:
    return [
        *("--model", "small", "--engine", engine, "--shots", "300"),
        *("--limit", "3", "--out", "run", *more),
    ]


def test_end_to_end_on_a_fake_marrakesh(hardware, capsys, tmp_path):
    square = "square:queries=2"  # on both: one attack, two measurements
    options = _arguments(
        *("ibm:fake_marrakesh", "--readout", "--twirling", "all"),
        *("--attacks", f"pgd,{square}", "--device-attack", square),
    )
    hardware("run", *options)
    told = capsys.readouterr()
    assert "twirling has no effect" in told.err
    report = json.loads(Path("run/hardware/report.json").read_text())
    assert report["device"] == "fake_marrakesh"
    assert report["mitigation"] == {}
    assert 0.8 < report["signal"]["raw"]["scale"] < 1.02  # noise takes a part of 14 CZ gates
    assert 0 < report["readout_error"] < 0.2
    attacks = [row["attack"] for row in report["rows"]]
    assert attacks == ["pgd", square, square, "worst case"]
    assert [row["crafted on"] for row in report["rows"]] == ["ideal", "ideal", "device", "both"]
    worst = report["rows"][-1]
    assert worst["raw robust"] <= min(row["raw robust"] for row in report["rows"][:-1])
    assert "signal scale s (corrected)" in told.out
    store = RunStore(Path("run"))
    records = [record for record in store.records() if record.device]
    assert len(records) == 6  # three attacks, as read and corrected
    weights = {record.weights for record in store.records()}
    assert len(weights) == 1
    for record in records:
        assert (record.exact, record.device.jobs, record.device.simulated) == (False, [], True)
        assert record.device.signal_scale is not None
        columns = store.columns(record)
        assert columns["clean_score_error"].shape == (3, 4)
        assert columns["clean_score_error"].dtype == np.float32
        assert Record.from_json(record.to_json()) == record
        assert "qiskit" in store.environments()[record.environment]
    on = {(record.task.attack.name, record.task.engine.attacked) for record in records}
    assert on == {("pgd", "ideal"), ("square", "ideal"), ("square", "engine")}
    assert store.results().cards["small"].plugin == "hardware_models"
    hardware("run", *options)  # the same command replays every query and runs nothing
    assert json.loads(Path("run/hardware/report.json").read_text()) == report
    assert "run locally" not in capsys.readouterr().err
    with pytest.raises(UsageError, match="holds another run"):
        hardware("run", *_arguments("ibm:fake_marrakesh", "--no-readout", "--yes"))


@pytest.mark.parametrize("name", ["small", "small-amplitude"])
def test_a_device_runs_the_circuits_of_the_ideal_simulator(name, monkeypatch):
    """Without noise, counts follow the exact probabilities, outcome by outcome."""
    from qiskit_aer import AerSimulator

    from qbench_engines.ibm import engine as module

    monkeypatch.setattr(module, "fake_device", lambda *_: AerSimulator())
    torch.manual_seed(0)
    model = load_registry(FILES).get("model", name).create()
    with torch.no_grad():
        model.theta.uniform_(-3, 3)
    batch = circuits_of(model, torch.rand(3, 256))
    engine = create_engine("ibm:fake_lagos", shots=40_000, seed=3)
    assert isinstance(engine, Engine)
    assert isinstance(engine, JobEngine)
    found = engine.probabilities(batch.circuit, batch.angles, batch.state)
    exact = TorchEngine().probabilities(batch.circuit, batch.angles, batch.state)
    assert float((found - exact).abs().max()) < 5 * 0.5 / 200  # five standard errors
    program = engine.compile(batch.circuit, batch.state is not None)
    readout, values = engine.readout(program)
    counts = engine.run(Job("readout", readout, values, 100, 1)).counts
    assert (counts == 100 * np.eye(16)).all()  # row i prepares outcome i


def test_calls_differ_and_a_seed_repeats_them():
    circuit = Circuit(2, 1, (0, 1))
    angles = torch.full((1, *circuit.angles_shape), 0.7)
    one, two = (create_engine("ibm:fake_lagos", shots=2000, seed=5) for _ in range(2))
    first, second = one.probabilities(circuit, angles), one.probabilities(circuit, angles)
    assert not torch.equal(first, second)
    assert torch.equal(two.probabilities(circuit, angles), first)


def test_noise_is_that_of_the_whole_device():
    """The model of the used qubits alone gives what the fake backend's own model does."""
    from qbench_engines.backends import backend_names
    from qbench_engines.ibm.engine import _counts
    from qbench_engines.ibm.sampler import simulated
    from qbench_engines.programs import loaded

    engine = create_engine("ibm:fake_lagos", shots=1, seed=1)
    assert isinstance(engine, JobEngine)
    circuit = Circuit(3, 6, (0, 1, 2))
    angles = torch.from_numpy(np.random.default_rng(0).uniform(-3, 3, (1, 6, 3, 3)))
    program = engine.compile(circuit, False)
    values = engine.values(program, circuit, angles, None)
    ours = engine.run(Job("ours", program, values, 40_000, 7)).counts
    whole = backend_names()["lagos"]()
    theirs = _counts(simulated(whole, [(loaded(program), values)], 40_000, 11))
    exact = TorchEngine().probabilities(circuit, angles).numpy()
    assert abs(ours - theirs).max() / 40_000 < 5 * 0.5 / 200 * 2**0.5
    assert abs(ours / 40_000 - exact).max() > 0.02  # and noise there is


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--engine", "ibm:fake_marakesh"), "marrakesh"),
        (("--engine", "ibm"), "needs a device"),
        (("--engine", "aer"), "takes no jobs"),
        (("--shots", "0"), "--shots: .*at least|--shots: .*greater than or equal to 1"),
        (("--eps", "-0.1"), "--eps"),
        (("--device-attack", "pgd"), "pgd needs gradients"),
        (("--device-attack", "squar"), "square"),
        (("--device-attack", "square:queries"), "NAME:PARAMETER=VALUE"),
        (("--model", "convnet"), "only quantum models"),
        (("--model", "reup*"), "takes one model, by its name"),
        (("--model", "small,reup"), "takes one model, by its name"),
        (("--shots", "1000000000"), "at most 100,000 times in a job"),
        (("--engine", "ibm:fake_kyoto"), "none of its two-qubit gates works"),
        (("--model", "reup-0.2", "--engine", "ibm:fake_lagos"), "7 qubits, the circuit needs 8"),
        (("--model", "smal"), "small"),
        (("--attacks", "pgdd"), "pgd"),
        (("--chunk", "0"), "--chunk"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(arguments, told, hardware):
    options = [*_arguments("ibm:fake_lagos"), *arguments, "--dry-run"]
    with pytest.raises((UsageError, UnknownNameError), match=told) as caught:
        hardware("run", *options)
    assert "\n" not in str(caught.value)
    assert not Path("run").exists()


def test_a_folder_without_a_run_says_so(hardware):
    for command in ("status", "collect", "resume"):
        with pytest.raises(Exception, match="no hardware run in nowhere"):
            hardware(command, "nowhere")


def test_a_white_box_attack_is_refused_on_the_device_itself():
    engine = create_engine("ibm:fake_lagos", shots=10)
    circuit = Circuit(2, 1, (0, 1))
    angles = torch.zeros(1, *circuit.angles_shape, requires_grad=True)
    with pytest.raises(Unsupported, match="gives no gradients"):
        engine.probabilities(circuit, angles)


def test_several_models_are_refused_before_any_is_made(hardware, monkeypatch):
    from qbench.evaluation.choosing import Chooser

    monkeypatch.setattr(Chooser, "choose", lambda *_: pytest.fail("models were prepared"))
    with pytest.raises(UsageError, match="takes one model"):
        hardware("run", *_arguments("ibm:fake_lagos"), "--model", "reup*")


def test_a_run_on_a_paid_device_is_refused_before_the_work(monkeypatch):
    from qbench.evaluation.choosing import Chooser
    from qbench.evaluation.planner import make_plan
    from qbench.evaluation.selection import RunSelection

    monkeypatch.setattr(Chooser, "choose", lambda *_: pytest.fail("models were prepared"))
    with pytest.raises(UsageError, match="paid by the job: use 'qbench hardware run'"):
        make_plan(RunSelection(models=("reup-hw4",), engine="ibm:ibm_torino", shots=100))


def test_the_budget_left_out_is_the_one_that_the_protocol_ranks_by():
    from qbench_hardware.command import run as command

    (option,) = (one for one in command.params if one.name == "eps")
    assert "ranks by, such as 0.1" in option.help


def test_shots_are_needed():
    with pytest.raises(UsageError, match="only samples"):
        create_engine("ibm:fake_lagos")
    with pytest.raises(UsageError, match="0 shots"):
        create_engine("ibm:fake_lagos", shots=0)


def test_devices_are_listed_by_the_names_they_take():
    names = [row["name"] for row in engine_devices("ibm")]
    assert "fake_marrakesh" in names
    create_engine(f"ibm:{names[-1]}", shots=1)


@pytest.mark.slow
def test_the_paper_model_keeps_little_of_its_signal_on_marrakesh(hardware):
    hardware(
        *("run", "--model", "reup-0.2", "--engine", "ibm:fake_marrakesh", "--shots", "1024"),
        *("--limit", "2", "--out", "run"),
    )
    report = json.loads(Path("run/hardware/report.json").read_text())
    assert report["circuit"]["two_qubit_gates"] > 900
    assert report["circuit"]["estimated_success"] < 0.2
    assert report["signal"]["raw"]["scale"] < 0.4
