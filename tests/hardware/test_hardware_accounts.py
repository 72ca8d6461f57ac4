"""Who pays: a run goes on only where its jobs are, and says beforehand what a free plan takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_ibm import CRN, OTHER_CRN, OTHER_TOKEN, SECOND_CRN, TOKEN, FakeIbm, Fault
from in_a_child import run_in_a_child

from qbench.errors import UsageError
from qbench_hardware.ledger import Ledger

LEDGER = Path("run/hardware/ledger.jsonl")
ELSEWHERE = {"instance": (TOKEN, SECOND_CRN), "account": (OTHER_TOKEN, OTHER_CRN)}
KILLED = -9


def _use(monkeypatch: pytest.MonkeyPatch, token: str, crn: str) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", token)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", crn)


@pytest.mark.parametrize("other", ELSEWHERE)
@pytest.mark.parametrize("ledger", ["kept", "lost"])
def test_a_run_goes_on_only_where_its_jobs_are(
    other, ledger, ibm: FakeIbm, hardware, selection, monkeypatch
):
    ibm.status = "Queued"
    hardware("run", *selection, "--detach")
    assert {entry.account for entry in Ledger(LEDGER).entries.values()} == {CRN}
    if ledger == "lost":
        LEDGER.unlink()
    _use(monkeypatch, *ELSEWHERE[other])
    for command in (("resume", "run"), ("collect", "run"), ("status", "run"), ("run", *selection)):
        with pytest.raises(UsageError, match=r"handed in under .*pay again") as caught:
            hardware(*command)
        assert CRN in str(caught.value)
        assert "\n" not in str(caught.value)
    assert len(ibm.jobs) == 4
    _use(monkeypatch, TOKEN, CRN)
    for job in ibm.jobs.values():
        job["status"] = "Completed"
    hardware("resume", "run")
    assert len(ibm.jobs) == 4


def test_a_saved_ledger_of_another_instance_is_not_gone_on_with(ibm: FakeIbm, hardware, selection):
    hardware("run", *selection)
    text = LEDGER.read_text()
    assert text.count(CRN) == 4
    LEDGER.write_text(text.replace(CRN, SECOND_CRN))
    with pytest.raises(UsageError, match="handed in under"):
        hardware("resume", "run")
    assert len(ibm.jobs) == 4


def test_the_dry_run_says_what_the_free_plan_takes(ibm: FakeIbm, hardware, selection, capsys):
    hardware("run", *selection, "--dry-run", "--json")
    told = json.loads(capsys.readouterr().out)

    def seconds(images: int) -> float:
        """Clean and attacked images, three circuits a job, 200 shots of 350 µs, 2 s a job."""
        return 2 * (2 * -(-images // 3) + images * 200 * 350e-6)

    fits = told["images_in_free_plan"]
    assert fits > told["images"] == 4
    assert seconds(fits) <= 600 + 0.2  # each kind of work is rounded to a tenth
    assert seconds(fits + 3) > 600
    hardware("run", *selection, "--dry-run")
    assert f"enough for {fits} of such images (asked for: 4)" in capsys.readouterr().out
    assert ibm.jobs == {}


def test_ibms_own_dry_run_is_asked_where_there_is_one(ibm: FakeIbm, hardware, selection, capsys):
    from qbench_engines.ibm.sampler import CLIENT_SIDE

    ibm.dry_runs = True
    hardware("run", *selection, "--dry-run", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run_qpu_s"] == (3 if CLIENT_SIDE else None)
    assert [job["device"] for job in ibm.jobs.values()] == (["mock_lagos"] if CLIENT_SIDE else [])
    hardware("run", *selection)
    real = [job for job in ibm.jobs.values() if job["device"] == "ibm_lagos"]
    assert len(real) == 4  # what was tried out is taken for no job of the run


def test_a_job_that_runs_far_too_long_is_stopped(ibm: FakeIbm, hardware, selection):
    hardware("run", *selection)
    # Three times 2 s and three (or one) circuits of 200 shots at 350 µs, and a minute.
    assert {job["cost"] for job in ibm.jobs.values()} == {67}


def test_more_shots_than_the_device_takes_are_refused_before_the_work(
    ibm: FakeIbm, hardware, selection
):
    most = ibm.configuration["max_shots"]
    selection[selection.index("--shots") + 1] = str(most + 1)
    with pytest.raises(UsageError, match=f"at most {most:,} times"):
        hardware("run", *selection)
    assert not Path("run").exists()


MOMENTS = 20


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_any_moment_and_tried_elsewhere_nothing_is_lost_or_paid_twice(
    moment, ibm: FakeIbm, hardware, selection, monkeypatch
):
    """Moments are requests of a run, spread evenly from its first job to its last result; half
    of the kills come once the request took effect."""
    # 4 jobs: each is looked for, handed in, found, asked for and fetched.
    requests = [("GET", "/jobs$"), ("POST", "/jobs$"), ("GET", r"/jobs/job-\d+$"),
                ("GET", "/results$"), ("GET", "/metrics$")]  # fmt: skip
    method, path = requests[moment % 5]
    before = [Fault(method, path, "pass") for _ in range(moment // 5 % 4)]
    ibm.faults = [*before, Fault(method, path, "kill", after=moment % 2 == 1)]
    assert run_in_a_child(ibm, hardware, "run", *selection) == KILLED
    taken = len(ibm.jobs)
    for token, crn in ELSEWHERE.values():
        _use(monkeypatch, token, crn)
        with pytest.raises(UsageError, match="handed in under"):
            hardware("resume", "run")
        assert len(ibm.jobs) == taken
    _use(monkeypatch, TOKEN, CRN)
    ibm.faults = []
    hardware("resume", "run")
    assert len(ibm.jobs) == len(set(ibm.submitted)) == 4
    entries = Ledger(LEDGER).entries.values()
    assert {entry.job_id for entry in entries} == set(ibm.jobs)
    assert {entry.status for entry in entries} == {"collected"}
    assert json.loads(Path("run/hardware/report.json").read_text())["jobs"] == 4
