"""Against a fake IBM Quantum: end to end, with faults, and never twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_ibm import CRN, TOKEN, FakeIbm, Fault

from qbench.errors import QbenchError, UnknownNameError, UsageError
from qbench.hardware.ledger import Ledger
from qbench.records import Record


def _report(folder: Path = Path("run")) -> dict:
    return json.loads((folder / "hardware" / "report.json").read_text())


def test_a_run_on_a_device_gives_records_with_its_jobs(ibm: FakeIbm, hardware, selection, capsys):
    hardware("run", *selection, "--readout", "--dynamical-decoupling", "XY4", "--twirling", "gates")
    assert len(ibm.jobs) == 5  # readout, and two chunks each of clean and of attacked images
    assert len(set(ibm.submitted)) == 5
    assert {job["session"] for job in ibm.jobs.values()} == {"batch-1"}
    options = ibm.jobs["job-2"]["options"]
    assert options["dynamical_decoupling"] == {"enable": True, "sequence_type": "XY4"}
    assert options["twirling"] == {"enable_gates": True, "enable_measure": False}
    report = _report()
    # Without noise all of the signal is left, and nothing is read wrong.
    assert report["signal"]["raw"]["scale"] == pytest.approx(1, abs=0.1)
    assert report["readout_error"] == 0
    assert report["rows"][0]["raw clean"] == report["rows"][0]["twin clean"]
    records = [Record.from_json(p.read_text()) for p in Path("run/records/small").glob("*.json")]
    found = [r.engine for r in records if r.engine and r.engine.device]
    assert len(found) == 2
    for engine in found:
        assert engine.name == "ibm:ibm_lagos"
        assert engine.shots == 200
        assert engine.date == "2026-03-01T12:00:00.000Z"
        assert engine.calibrated is not None
        assert set(engine.job_ids) == {"job-2", "job-3", "job-4", "job-5"}
        assert engine.mitigation["dynamical_decoupling"] == "XY4"
    assert sorted(engine.mitigation.get("readout", False) for engine in found) == [False, True]
    assert "signal scale" in capsys.readouterr().out
    hardware("run", *selection, "--readout", "--dynamical-decoupling", "XY4", "--twirling", "gates")
    assert len(ibm.jobs) == 5
    assert _report() == report


def _client(ibm: FakeIbm, *arguments: str) -> int:
    """Run the command in a process of its own, which the fake service can kill."""
    script = Path(__file__).with_name("ibm_client.py")
    child = subprocess.Popen(
        [sys.executable, str(script), str(ibm.port), "hardware", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    ibm.pid = child.pid
    return child.wait(timeout=120)


def test_a_kill_at_any_point_loses_nothing_and_submits_nothing_twice(
    ibm: FakeIbm, hardware, selection, monkeypatch
):
    killed = -9
    ibm.faults = [Fault("POST", "/jobs$", "kill")]  # written down, not handed in
    assert _client(ibm, "run", *selection) == killed
    assert ibm.jobs == {}
    entries = Ledger(Path("run/hardware/ledger.jsonl")).entries.values()
    assert [entry.standing for entry in entries] == ["intended"]

    ibm.faults = [Fault("POST", "/jobs$", "kill", after=True)]  # accepted, its id never read
    assert _client(ibm, "resume", "run") == killed
    assert len(ibm.jobs) == 1

    ibm.faults = [Fault("GET", r"/jobs/job-\d+$", "kill")]  # handed in, while waiting
    assert _client(ibm, "resume", "run") == killed
    assert len(ibm.jobs) == 4

    ibm.faults = [Fault("GET", "/results$", "kill", after=True)]  # while counts are fetched
    assert _client(ibm, "resume", "run") == killed
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
    ibm.faults = [Fault("POST", "/jobs$", "drop", after=True)]
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
