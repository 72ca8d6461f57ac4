"""The ledger and the desk, without Qiskit: a service in memory, killed at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import StoreError, VerificationError
from qbench.hardware import desk as desk_module
from qbench.hardware.desk import Desk, JobFailedError
from qbench.hardware.interface import Job, JobResult, JobState, Program, ServiceUnavailableError
from qbench.hardware.ledger import Entry, Ledger, now


class Killed(BaseException):
    """Stands for the end of the process."""


class Service:
    """Jobs in memory, and a script of what goes wrong at the n-th step: nothing where it ends."""

    name, local, poll_s, settle_s = "memory:device", False, 0.0, 0.0

    def __init__(self, script: list[type[BaseException] | None] | None = None) -> None:
        self.jobs: dict[str, tuple[str, Job]] = {}
        self.failing: set[str] = set()
        self.script = script or []

    def _step(self) -> None:
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error("the line dropped")

    def submit(self, job: Job, tag: str) -> str:
        self._step()
        job_id = f"id{len(self.jobs)}"
        self.jobs[job_id] = (tag, job)
        self._step()
        return job_id

    def find(self, tag: str) -> list[str]:
        self._step()
        return [job_id for job_id, (own, _) in self.jobs.items() if own == tag]

    def state(self, job_id: str) -> JobState:
        self._step()
        failed = job_id in self.failing
        return JobState("failed", "bad luck") if failed else JobState("done")

    def result(self, job_id: str) -> JobResult:
        self._step()
        job = self.jobs[job_id][1]
        counts = np.zeros((job.circuits, job.program.outcomes), np.int64)
        counts[:, 1] = job.shots
        return JobResult(counts, "2026-01-01", 1.0)

    def seconds(self, job: Job) -> float:
        return 1.0


def _jobs(n: int = 2) -> list[Job]:
    program = Program(b"circuit", 4, {"versions": {"a": "1"}, "calibrated": "2026"})
    return [Job(f"job{i}", program, np.full((3, 2), float(i)), 10, 1) for i in range(n)]


def _desk(folder: Path, service: Service) -> Desk:
    return Desk(service, Ledger(folder / "ledger.jsonl"), folder / "counts", "run", folder)


def _finish(folder: Path, service: Service, **options: bool) -> None:
    desk, jobs = _desk(folder, service), _jobs()
    for job in jobs:
        desk.submit(job, **options)
    desk.wait(jobs)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "FIRST_PAUSE_S", 0.0)


def _steps(tmp_path: Path) -> int:
    """Steps that two jobs take when all goes well."""
    service, steps = Service(), 0
    real = service._step

    def count() -> None:
        nonlocal steps
        steps += 1
        real()

    service._step = count  # type: ignore[method-assign]
    _finish(tmp_path / "smooth", service)
    return steps


@pytest.mark.parametrize("error", [Killed, ServiceUnavailableError])
def test_whatever_step_breaks_every_job_is_submitted_once(error, tmp_path):
    steps = _steps(tmp_path)
    assert steps == 8  # before and after each submission, its state and its result
    for broken in range(steps):
        folder = tmp_path / str(broken)
        service = Service([None] * broken + [error])
        try:
            _finish(folder, service)
        except Killed:
            _finish(folder, service)
        assert len(service.jobs) == 2, f"step {broken}"
        desk = _desk(folder, service)
        assert all(desk.counts(job) is not None for job in _jobs())


def test_a_service_that_stays_away_is_reported_with_what_to_do(tmp_path):
    service = Service([ServiceUnavailableError] * 100)
    with pytest.raises(ServiceUnavailableError, match=f"nothing is lost.*resume {tmp_path}"):
        _finish(tmp_path, service)
    service.script = []
    _finish(tmp_path, service)
    assert len(service.jobs) == 2


def test_a_job_that_is_not_listed_yet_is_waited_for(tmp_path, monkeypatch):
    service = Service([None, Killed])
    with pytest.raises(Killed):
        _finish(tmp_path, service)
    hidden, service.jobs, service.settle_s = service.jobs, {}, 1000.0
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        service.jobs.update(hidden)

    monkeypatch.setattr(desk_module.time, "sleep", sleep)
    _desk(tmp_path, service).submit(_jobs()[0])
    assert len(service.jobs) == 1
    assert 900 < slept[0] <= 1000


def test_a_failed_job_is_handed_in_again_only_on_request(tmp_path):
    service = Service()
    service.failing = {"id0"}
    with pytest.raises(JobFailedError, match=r"id0.*bad luck.*--retry-failed"):
        _finish(tmp_path, service)
    assert _desk(tmp_path, service).counts(_jobs()[1]) is not None  # the other was still fetched
    with pytest.raises(JobFailedError):
        _finish(tmp_path, service)
    assert len(service.jobs) == 2
    service.script = [None, Killed]  # accepted again, but killed before it is written down
    with pytest.raises(Killed):
        _finish(tmp_path, service, retry_failed=True)
    _finish(tmp_path, service)
    assert len(service.jobs) == 3


def test_counts_that_are_damaged_are_fetched_again(tmp_path):
    service = Service()
    _finish(tmp_path, service)
    for path in (tmp_path / "counts").glob("*.npz"):
        path.write_bytes(b"half")
    assert _desk(tmp_path, service).counts(_jobs()[0]) is None
    _finish(tmp_path, service)
    assert len(service.jobs) == 2
    assert _desk(tmp_path, service).counts(_jobs()[0]) is not None


def test_counts_of_another_shape_are_refused(tmp_path):
    service = Service()
    service.result = lambda job_id: JobResult(np.zeros((3, 4), np.int64))  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match=r"job0 gave counts.*expected"):
        _finish(tmp_path, service)


def test_other_inputs_under_one_name_are_not_paid_for(tmp_path):
    service, (job, _) = Service(), _jobs()
    desk = _desk(tmp_path, service)
    desk.submit(job)
    moved = Job(job.name, job.program, job.values + 1e-12, job.shots, job.seed)
    with pytest.raises(StoreError, match=r"other inputs.*a 1"):
        desk.submit(moved)
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda j: Job("x", j.program, j.values, j.shots, j.seed),
        lambda j: Job(j.name, Program(b"other", 4, {}), j.values, j.shots, j.seed),
        lambda j: Job(j.name, j.program, j.values + 1, j.shots, j.seed),
        lambda j: Job(j.name, j.program, j.values.reshape(2, 3), j.shots, j.seed),
        lambda j: Job(j.name, j.program, j.values, 11, j.seed),
        lambda j: Job(j.name, j.program, j.values, j.shots, 2),
        lambda j: Job(j.name, j.program, j.values, j.shots, j.seed, {"twirling": "all"}),
    ],
)
def test_a_key_names_everything_that_matters(other: Callable[[Job], Job]) -> None:
    job = _jobs()[0]
    assert other(job).key("e", "r") != job.key("e", "r")
    assert job.key("e", "r") == _jobs()[0].key("e", "r")
    assert len({job.key("e", "r"), job.key("e2", "r"), job.key("e", "r2")}) == 3


def _fill(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.intend(Entry("k1", "job1", 3, 10, 1.0, now(), {"qiskit": "2"}, "2026"))
    ledger.submitted("k1", "id1")
    ledger.failed("k1", "id1", "warm")
    ledger.intend(Entry("k1", "job1", 3, 10, 1.0, now(), failed=("id1",)))
    ledger.submitted("k1", "id2")
    ledger.collected("k1", counts="k1.npz", counts_sha256="0" * 64, finished="now", used_s=2.5)
    return ledger


@given(cut=st.integers(0, 5000), torn_end=st.sampled_from([b"", b"x" * 2000]))
def test_a_torn_ledger_keeps_every_whole_line(cut: int, torn_end: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    whole = _fill(path)
    content = path.read_bytes()
    assert Ledger(path).entries == whole.entries
    path.write_bytes(content[: cut % len(content)] + torn_end)
    lines = path.read_bytes().count(b"\n")
    torn = Ledger(path)
    assert (torn.find("k1") is not None) == (lines > 0)
    torn.intend(Entry("k2", "job2", 1, 1, 0.0, now()))  # goes on after the last whole line
    assert path.read_bytes().count(b"\n") == lines + 1
    assert path.read_bytes().endswith(b"\n")
    assert Ledger(path).entries == torn.entries


def test_what_a_ledger_says_of_a_job(tmp_path):
    entry = _fill(tmp_path / "ledger.jsonl").entries["k1"]
    assert (entry.standing, entry.job_id, entry.failed) == ("collected", "id2", ("id1",))
    assert (entry.counts, entry.used_s, entry.tag) == ("k1.npz", 2.5, "qbench-k1")


def test_a_ledger_damaged_in_the_middle_stops_the_run(tmp_path):
    path = tmp_path / "ledger.jsonl"
    _fill(path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{...", *lines[2:]]))
    with pytest.raises(StoreError, match=r"line 2.*paid for again"):
        Ledger(path)
