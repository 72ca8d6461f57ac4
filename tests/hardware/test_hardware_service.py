"""Against a fake IBM Quantum: end to end, with faults, and never twice."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from fake_ibm import CRN, TOKEN, FakeIbm, Fault
from in_a_child import run_in_a_child

from qbench.errors import QbenchError, UnknownNameError, UsageError
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench_hardware.ledger import Ledger

MODELS = Path(__file__).with_name("hardware_models.py")


def _report(folder: Path = Path("run")) -> dict:
    return json.loads((folder / "hardware" / "report.json").read_text())


def test_a_run_on_a_device_gives_records_with_its_jobs(ibm: FakeIbm, hardware, selection, capsys):
    hardware("run", *selection, "--readout", "--dynamical-decoupling", "XY4", "--twirling", "gates")
    assert len(ibm.jobs) == 5  # readout, and two chunks each of clean and of attacked images
    assert len(set(ibm.submitted)) == 5
    assert {job["session"] for job in ibm.jobs.values()} == {"batch-1"}
    options = ibm.jobs["job-2"]["options"]
    # The client of an executor fills in its defaults beside these.
    decoupling, twirling = options["dynamical_decoupling"], options["twirling"]
    assert decoupling | {"enable": True, "sequence_type": "XY4"} == decoupling
    assert twirling | {"enable_gates": True, "enable_measure": False} == twirling
    # 200 shots come out even among 25 frames; left to itself the Sampler takes 256.
    assert (twirling["num_randomizations"], twirling["shots_per_randomization"]) == (25, 8)
    report = _report()
    # Without noise all of the signal is left, and nothing is read wrong.
    assert report["signal"]["raw"]["scale"] == pytest.approx(1, abs=0.1)
    assert report["readout_error"] == 0
    for row in report["rows"]:  # the clean images are those of every attack
        assert row["raw clean"] == report["rows"][0]["raw clean"]
    # 200 shots may decide one of the four images otherwise.
    assert report["rows"][0]["raw clean"] == pytest.approx(
        report["rows"][0]["ideal clean"], abs=0.25
    )
    found = [record for record in RunStore(Path("run")).records() if record.device]
    assert len(found) == 2
    for record in found:
        engine, device = record.task.engine, record.device
        assert (engine.name, engine.shots, engine.attacked) == ("ibm:ibm_lagos", 200, "ideal")
        assert engine.mitigation["dynamical_decoupling"] == "XY4"
        assert not device.simulated
        assert device.date == "2026-03-01T12:00:00.000Z"
        assert device.calibrated is not None
        assert set(device.jobs) == {"job-2", "job-3", "job-4", "job-5"}
        assert record.environment in RunStore(Path("run")).environments()
    with_readout = [record.task.engine.mitigation.get("readout", False) for record in found]
    assert sorted(with_readout) == [False, True]
    assert "signal scale" in capsys.readouterr().out
    hardware("run", *selection, "--readout", "--dynamical-decoupling", "XY4", "--twirling", "gates")
    assert len(ibm.jobs) == 5
    assert _report() == report


def test_a_kill_at_any_point_loses_nothing_and_submits_nothing_twice(
    ibm: FakeIbm, hardware, selection, monkeypatch
):
    killed = -9
    ibm.faults = [Fault("POST", "/jobs$", "kill")]  # written down, not handed in
    assert run_in_a_child(ibm, hardware, "run", *selection) == killed
    assert ibm.jobs == {}
    entries = Ledger(Path("run/hardware/ledger.jsonl")).entries.values()
    assert [entry.status for entry in entries] == ["intended"]

    ibm.faults = [Fault("POST", "/jobs$", "kill", after=True)]  # accepted, its id never read
    assert run_in_a_child(ibm, hardware, "resume", "run") == killed
    assert len(ibm.jobs) == 1

    ibm.faults = [Fault("GET", r"/jobs/job-\d+$", "kill")]  # handed in, while waiting
    assert run_in_a_child(ibm, hardware, "resume", "run") == killed
    assert len(ibm.jobs) == 4

    ibm.faults = [Fault("GET", "/results$", "kill", after=True)]  # while counts are fetched
    assert run_in_a_child(ibm, hardware, "resume", "run") == killed
    assert not Path("run/hardware/report.json").exists()

    hardware("collect", "run")
    assert len(ibm.jobs) == len(set(ibm.submitted)) == 4
    entries = Ledger(Path("run/hardware/ledger.jsonl")).entries.values()
    assert {entry.job_id for entry in entries} == set(ibm.jobs)
    assert _report()["jobs"] == 4


def test_a_dropped_connection_is_tried_again_but_no_job_is_taken_twice(
    ibm: FakeIbm, hardware, selection
):
    ibm.faults = [
        Fault("POST", "/jobs$", "drop"),
        Fault("POST", "/jobs$", "drop", after=True),  # accepted, and nobody was told
        Fault("POST", "/jobs$", 503),
        Fault("POST", "/jobs$", 429),
        Fault("GET", r"/jobs/job-\d+$", "drop"),
        Fault("GET", "/results$", "drop"),
    ]
    hardware("run", *selection)
    assert ibm.faults == []
    assert len(ibm.jobs) == len(set(ibm.submitted)) == 4
    assert _report()["jobs"] == 4


def test_a_lost_network_says_how_to_go_on(ibm: FakeIbm, hardware, selection):
    ibm.faults = [Fault("POST", "/jobs$", "drop", after=True), Fault("GET", "/jobs$", "pass")]
    ibm.faults += [Fault("GET", "/jobs$", "drop") for _ in range(100)]
    with pytest.raises(QbenchError, match=r"cannot be reached.*nothing is lost.*resume run"):
        hardware("run", *selection)
    assert len(ibm.jobs) == 1
    ibm.faults = []
    hardware("resume", "run")
    assert len(ibm.jobs) == len(set(ibm.submitted)) == 4


def test_a_failed_job_is_reported_and_handed_in_again_only_on_request(
    ibm: FakeIbm, hardware, selection, capsys
):
    ibm.failing = {"next"}
    for command in (("run", *selection), ("resume", "run"), ("collect", "run")):
        with pytest.raises(QbenchError, match=r"job-1 .*the fridge is warm.*--retry-failed"):
            hardware(*command)
        assert len(ibm.jobs) == 4  # the others were handed in, and nothing again
    capsys.readouterr()
    hardware("status", "run", "--json")
    told = json.loads(capsys.readouterr().out)["jobs"]
    assert [job["state"] for job in told] == ["failed", "collected", "collected", "collected"]
    assert told[1]["charged QPU s"] == 3
    ibm.faults = [Fault("POST", "/jobs$", "drop", after=True)]
    hardware("resume", "run", "--retry-failed")
    assert len(ibm.jobs) == 5  # the new job is found by its tag, the failed one is left alone
    assert _report()["jobs"] == 4


def test_a_failed_job_does_not_hold_up_those_that_were_not_handed_in(
    ibm: FakeIbm, hardware, selection
):
    ibm.failing = {"next"}
    ibm.faults = [Fault("POST", "/jobs$", "pass")]
    ibm.faults += [Fault("POST", "/jobs$", "drop") for _ in range(100)]
    with pytest.raises(QbenchError, match="cannot be reached"):
        hardware("run", *selection)
    assert len(ibm.jobs) == 1
    for command in ("collect", "resume"):
        ibm.faults = []
        with pytest.raises(QbenchError, match="fridge"):
            hardware(command, "run")
    assert len(ibm.jobs) == 4


def test_detached_jobs_are_collected_when_they_are_done(ibm: FakeIbm, hardware, selection, capsys):
    ibm.status = "Queued"
    hardware("run", *selection, "--detach")
    hardware("collect", "run", "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"folder": "run", "done": False}
    hardware("status", "run")
    assert "queued" in capsys.readouterr().out
    assert not Path("run/hardware/report.json").exists()
    for job in ibm.jobs.values():
        job["status"] = "Completed"
    hardware("collect", "run")
    assert len(ibm.jobs) == 4
    assert _report()["jobs"] == 4


LEDGER = Path("run/hardware/ledger.jsonl")


def test_a_ledger_lost_restored_or_copied_pays_for_nothing_again(ibm: FakeIbm, hardware, selection):
    hardware("run", *selection)
    report, lines = _report(), LEDGER.read_bytes().splitlines(True)
    for kept in (b"", b"".join(lines[:1]), b"".join(lines[:3]), None):
        if kept is None:
            LEDGER.unlink()
        else:
            LEDGER.write_bytes(kept)
        hardware("resume", "run")
        assert len(ibm.jobs) == 4
        assert _report() == report
    shutil.copytree("run", "copy")
    Path("copy/hardware/ledger.jsonl").unlink()
    shutil.rmtree("copy/hardware/counts")
    hardware("resume", "copy")
    assert len(ibm.jobs) == 4


def test_the_ledger_is_read_once_the_folder_is_held(ibm: FakeIbm, hardware, selection):
    from qbench_hardware.plan import HardwarePlan
    from qbench_hardware.run import HardwareRun
    from qbench_hardware.workflow import resume

    ibm.status = "Queued"
    hardware("run", *selection, "--detach")
    LEDGER.unlink()
    early = HardwareRun(HardwarePlan.load(Path("run")), Path("run"), (PluginFile.read(MODELS),))
    for job in ibm.jobs.values():
        job["status"] = "Completed"
    hardware("resume", "run")
    written = LEDGER.read_bytes()
    with early.begun():
        with pytest.raises(QbenchError, match="another run is writing"):
            hardware("resume", "run")
        resume(early, lambda _: None)
    assert LEDGER.read_bytes() == written
    assert len(ibm.jobs) == 4


def test_another_jobs_id_in_the_ledger_is_not_believed(ibm: FakeIbm, hardware, selection):
    hardware("run", *selection, "--detach")
    shutil.rmtree("run/hardware/counts")
    text = LEDGER.read_text()
    LEDGER.write_text(text.replace("job-1", "job-3"))
    assert "another tag" in _message(hardware, "collect", "run")


def test_a_strangers_folder_runs_no_code_of_its_own(ibm: FakeIbm, hardware, selection, tmp_path):
    from qbench.cli import cli

    hardware("run", *selection)
    for command in ("status", "collect", "resume"):
        with pytest.raises(QbenchError, match=r"begun with a plugin hardware_models.py.*--plugin"):
            cli.main(["hardware", command, "run"], standalone_mode=False)
    other = tmp_path / "other" / "hardware_models.py"
    other.parent.mkdir()
    other.write_bytes(MODELS.read_bytes() + b"open('was-run', 'w')\n")
    for command in ("status", "resume"):
        with pytest.raises(QbenchError, match="not begun with this plugin hardware_models"):
            cli.main(["hardware", command, "run", "--plugin", str(other)], standalone_mode=False)
    assert not Path("was-run").exists()
    assert str(MODELS.parent) not in Path("run/hardware/run.json").read_text()


def test_damaged_files_of_a_run_are_one_line(ibm: FakeIbm, hardware, selection):
    hardware("run", *selection, "--detach")
    path = Path("run/hardware/circuit.json")
    kept = json.loads(path.read_bytes())
    garbage = b"QISKIT and no more"
    forged = {"content": base64.b64encode(garbage).decode()}
    for content, told in (
        (b"half", "circuit.json is damaged"),
        (json.dumps({**kept, **forged}).encode(), "the circuit was changed"),
        (
            json.dumps({**kept, **forged, "sha256": hashlib.sha256(garbage).hexdigest()}).encode(),
            "the compiled circuit cannot be read",
        ),
        (json.dumps({**kept, "values": [[1], []]}).encode(), "circuit.json is damaged"),
        (json.dumps({**kept, "outcomes": "16"}).encode(), "outcomes"),
    ):
        path.write_bytes(content)
        assert told in _message(hardware, "resume", "run")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "a link" in _message(hardware, "resume", "run")
    for content in (b"{}", b"[]", b"x", b'{"shots": 5}'):
        Path("run/hardware/run.json").write_bytes(content)
        assert "run.json is damaged" in _message(hardware, "status", "run")
    assert len(ibm.jobs) == 4


def test_what_the_service_says_and_nobody_knows(ibm: FakeIbm, hardware, selection, caplog):
    ibm.status, ibm.finished = "Levitating", 5
    assert "not known here, 'LEVITATING'" in _message(hardware, "run", *selection)
    assert "LEVITATING" in _message(hardware, "status", "run")
    for job in ibm.jobs.values():
        job["status"] = "Completed"
    hardware("resume", "run")
    assert "'5' is no time" in caplog.text
    records = [record for record in RunStore(Path("run")).records() if record.device]
    assert {record.device.date for record in records} == {None}
    assert len(ibm.jobs) == 4


def _message(hardware, *arguments: str) -> str:
    with pytest.raises(QbenchError) as caught:
        hardware(*arguments)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_account_says_how_to_set_one_up(ibm: FakeIbm, hardware, selection, monkeypatch):
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    told = _message(hardware, "run", *selection, "--dry-run")
    assert "no IBM Quantum account" in told
    assert "save_account" in told
    assert "QISKIT_IBM_TOKEN" in told


def test_a_bad_token_is_told_from_a_bad_network_and_never_shown(
    ibm: FakeIbm, hardware, selection, monkeypatch, caplog, capsys, recwarn
):
    secret = "another-secret-token"
    monkeypatch.setenv("QISKIT_IBM_TOKEN", secret)  # the fake service echoes it in its refusal
    told = _message(hardware, "run", *selection, "--dry-run")
    assert "does not accept the token" in told
    ibm.faults = [Fault("POST", "/identity/token", "drop") for _ in range(100)]
    network = _message(hardware, "run", *selection, "--dry-run")
    assert "cannot be reached" in network
    everything = (told, network, caplog.text, *capsys.readouterr(), str([*map(str, recwarn)]))
    assert not any(secret in text for text in everything)


def test_a_token_in_an_error_of_the_service_is_hidden(monkeypatch):
    from qbench_engines.ibm.messages import translated

    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    with pytest.raises(QbenchError, match=r"\*\*\*") as caught, translated("try"):
        raise RuntimeError(f"apikey {TOKEN}\nwas refused")
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_unknown_device_is_answered_with_the_nearest_ones(ibm: FakeIbm, hardware, selection):
    selection[selection.index("ibm:ibm_lagos")] = "ibm:ibm_lagoss"
    with pytest.raises(UnknownNameError, match="did you mean ibm_lagos"):
        hardware("run", *selection)


def test_a_wrong_instance_is_named(ibm: FakeIbm, hardware, selection, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", CRN.replace("1:2", "1:3"))
    assert "check the instance" in _message(hardware, "run", *selection, "--dry-run")


def test_a_device_with_too_few_qubits_is_refused(ibm: FakeIbm, hardware, selection):
    selection[selection.index("small")] = "reup-0.2"
    with pytest.raises(UsageError, match="has 7 qubits, the circuit needs 8"):
        hardware("run", *selection, "--dry-run")


def test_nothing_is_spent_above_the_limit_without_a_word(ibm: FakeIbm, hardware, selection, capsys):
    hardware("run", *selection, "--dry-run", "--json")
    told = json.loads(capsys.readouterr().out)
    # IBM's formula: 2 s for each of four jobs and 350 µs for each of eight circuits' 200 shots.
    assert told["qpu_s"] == pytest.approx(4 * 2 + 8 * 200 * 350e-6, abs=0.1)
    with pytest.raises(UsageError, match="about 9 QPU seconds, more than 5"):
        hardware("run", *selection, "--max-qpu-seconds", "5")
    assert not Path("run").exists()
    assert ibm.jobs == {}
    hardware("run", *selection, "--max-qpu-seconds", "5", "--yes", "--detach")
    assert len(ibm.jobs) == 4


def test_a_real_device_is_not_run_without_a_ledger(ibm: FakeIbm):
    import torch

    from qbench.circuits.circuit import Circuit
    from qbench.engines import create_engine

    engine = create_engine("ibm:ibm_lagos", shots=10)
    circuit = Circuit(4, 1, (0,))
    with pytest.raises(UsageError, match="qbench hardware run"):
        engine.probabilities(circuit, torch.zeros(1, *circuit.angles_shape))
    assert ibm.requests == []
