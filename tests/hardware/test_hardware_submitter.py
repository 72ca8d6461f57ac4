"""The ledger and who submits, without Qiskit: a service in memory, killed at every step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import StoreError, VerificationError
from qbench_hardware import submitter as module
from qbench_hardware.interface import (
    Job,
    JobResult,
    JobState,
    Program,
    ServiceError,
    ServiceUnavailableError,
)
from qbench_hardware.ledger import Entry, Ledger, now
from qbench_hardware.submitter import JobFailedError, JobSubmitter

ONE, TWO = "1" * 64, "2" * 64


class Killed(BaseException):
    """Stands for the end of the process."""


class Service:
    """Jobs in memory, and a script of what goes wrong at the n-th step: nothing where it ends."""

    name, local, poll_s, settle_s = "memory:device", False, 0.0, 0.0
    account = "someone"

    def __init__(self, script: list[type[BaseException] | None] | None = None) -> None:
        self.jobs: dict[str, tuple[str, Job]] = {}
        self.failing: set[str] = set()
        self.script = script or []
        self.finished: object = "2026-01-01T00:00:00Z"

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
        tags = (self.jobs[job_id][0],)
        failed = job_id in self.failing
        return JobState("failed", "bad luck", tags) if failed else JobState("done", tags=tags)

    def result(self, job_id: str) -> JobResult:
        self._step()
        job = self.jobs[job_id][1]
        counts = np.zeros((job.circuits, job.program.outcomes), np.int64)
        counts[:, 1] = job.shots
        return JobResult(counts, self.finished, 1.0)  # type: ignore[arg-type]

    def seconds(self, job: Job) -> float:
        return 1.0


def _jobs(n: int = 2) -> list[Job]:
    program = Program(b"circuit", 4, {"versions": {"a": "1"}, "calibrated": "2026"})
    return [Job(f"job{i}", program, np.full((3, 2), float(i)), 10, 1) for i in range(n)]


def _submitter(folder: Path, service: Service) -> JobSubmitter:
    path = folder / "hardware" / "ledger.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return JobSubmitter(service, Ledger(path), folder, "run", resumed=path.exists())  # type: ignore[arg-type]


def _finish(folder: Path, service: Service, **options: bool) -> JobSubmitter:
    submitter, jobs = _submitter(folder, service), _jobs()
    submitter.carry_out(jobs, lambda _: None, **options)
    return submitter


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)


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
    assert steps == 10  # the look for its tag, before and after submission, its state, its result
    for broken in range(steps):
        folder = tmp_path / str(broken)
        service = Service([None] * broken + [error])
        try:
            _finish(folder, service)
        except Killed:
            _finish(folder, service)
        assert len(service.jobs) == 2, f"step {broken}"
        submitter = _submitter(folder, service)
        assert all(submitter.counts(job) is not None for job in _jobs())


@pytest.mark.parametrize("kept", [0, 1, 3, None])
@pytest.mark.parametrize("broken", [2, 5, 8, None])
def test_a_ledger_deleted_emptied_or_restored_pays_for_nothing_again(kept, broken, tmp_path):
    service = Service([] if broken is None else [None] * broken + [Killed])
    with contextlib.suppress(Killed):
        _finish(tmp_path, service)
    path = tmp_path / "hardware" / "ledger.jsonl"
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:kept]))
    _finish(tmp_path, service)
    assert len(service.jobs) == 2


def test_a_lost_ledger_waits_until_its_jobs_must_be_listed(tmp_path, monkeypatch):
    service = Service()
    service.settle_s = 1000.0
    _finish(tmp_path, service)  # a new run waits for nothing
    hidden, service.jobs = service.jobs, {}
    (tmp_path / "hardware" / "ledger.jsonl").write_bytes(b"")
    slept = []
    monkeypatch.setattr(
        module.time, "sleep", lambda s: (slept.append(s), service.jobs.update(hidden))
    )
    _finish(tmp_path, service)
    assert service.jobs == hidden
    assert len(slept) == 1
    assert 900 < slept[0] <= 1000


def test_a_failure_that_the_ledger_lost_is_found_again_and_not_paid_twice(tmp_path):
    service = Service()
    service.failing = {"id0"}
    with pytest.raises(JobFailedError):
        _finish(tmp_path, service)
    _finish(tmp_path, service, retry_failed=True)
    (tmp_path / "hardware" / "ledger.jsonl").unlink()
    with pytest.raises(JobFailedError, match="id0"):
        _finish(tmp_path, service)
    _finish(tmp_path, service, retry_failed=True)
    assert len(service.jobs) == 3


def test_a_service_that_stays_away_is_reported_with_what_to_do(tmp_path):
    service = Service([ServiceUnavailableError] * 100)
    with pytest.raises(ServiceUnavailableError, match=f"nothing is lost.*resume {tmp_path}"):
        _finish(tmp_path, service)
    assert len(service.script) == 100 - module.ATTEMPTS
    service.script = []
    _finish(tmp_path, service)
    assert len(service.jobs) == 2


def test_pauses_between_attempts_double(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 2.0)
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    with pytest.raises(ServiceUnavailableError):
        _finish(tmp_path, Service([ServiceUnavailableError] * 100))
    assert slept == [2, 4, 8, 16]


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"])
def test_a_job_that_is_not_listed_yet_is_waited_for(at, tmp_path, monkeypatch):
    service = Service([None, None, Killed])
    with pytest.raises(Killed):
        _finish(tmp_path, service)
    path = tmp_path / "hardware" / "ledger.jsonl"
    line = json.loads(path.read_bytes())
    path.write_text(json.dumps({**line, "at": at}) + "\n")  # whatever a clock said
    hidden, service.jobs, service.settle_s = service.jobs, {}, 1000.0
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        service.jobs.update(hidden)

    monkeypatch.setattr(module.time, "sleep", sleep)
    _submitter(tmp_path, service).submit(_jobs()[0])
    assert len(service.jobs) == 1
    assert 900 < slept[0] <= 1000


def test_a_failed_job_is_handed_in_again_only_on_request(tmp_path):
    service = Service()
    service.failing = {"id0"}
    with pytest.raises(JobFailedError, match=r"id0.*bad luck.*--retry-failed"):
        _finish(tmp_path, service)
    assert _submitter(tmp_path, service).counts(_jobs()[1]) is not None  # still fetched
    with pytest.raises(JobFailedError):
        _finish(tmp_path, service)
    assert len(service.jobs) == 2
    service.script = [None, None, Killed]  # accepted again, but killed before it is written down
    with pytest.raises(Killed):
        _finish(tmp_path, service, retry_failed=True)
    _finish(tmp_path, service)
    assert len(service.jobs) == 3


def test_another_jobs_id_in_the_ledger_is_not_believed(tmp_path):
    service, (job, other) = Service(), _jobs()
    submitter = _submitter(tmp_path, service)
    submitter.submit(job)
    submitter.submit(other)
    path = submitter.ledger.path
    path.write_text(path.read_text().replace('"job_id": "id0"', '"job_id": "id1"'))
    submitter = _submitter(tmp_path, service)
    with pytest.raises(StoreError, match=r"job0 is job id1.*another tag.*remove it"):
        submitter.collect(job)
    path.unlink()  # as it is told
    _finish(tmp_path, service)
    assert len(service.jobs) == 2


def test_a_state_that_nobody_knows_stops_with_one_line(tmp_path):
    service, job = Service(), _jobs()[0]
    submitter = _submitter(tmp_path, service)
    entry = submitter.submit(job)
    service.state = lambda job_id: JobState("on\nholiday", tags=(entry.tag,))  # type: ignore
    with pytest.raises(ServiceError, match=r"id0 \(job0\) .* 'on holiday'.*nothing is lost"):
        submitter.carry_out([job], lambda _: None)


@pytest.mark.parametrize("finished", [5, "yesterday", "2026-01-01T00:00:00", "a\nb"])
def test_a_time_that_is_none_is_left_out_and_told(finished, tmp_path, caplog):
    service = Service()
    service.finished = finished
    submitter = _finish(tmp_path, service)
    assert {entry.finished for entry in submitter.ledger.entries.values()} == {None}
    assert "job0" in caplog.text
    assert all(submitter.counts(job) is not None for job in _jobs())


def test_counts_that_are_damaged_are_fetched_again(tmp_path):
    service = Service()
    _finish(tmp_path, service)
    for path in (tmp_path / "hardware" / "counts").glob("*.npz"):
        path.write_bytes(b"half")
    assert _submitter(tmp_path, service).counts(_jobs()[0]) is None
    _finish(tmp_path, service)
    assert len(service.jobs) == 2
    assert _submitter(tmp_path, service).counts(_jobs()[0]) is not None


def test_counts_of_another_shape_are_refused(tmp_path):
    service = Service()
    service.result = lambda job_id: JobResult(np.zeros((3, 4), np.int64))  # type: ignore
    with pytest.raises(VerificationError, match=r"job0 gave counts.*expected"):
        _finish(tmp_path, service)


def test_other_inputs_under_one_name_are_not_paid_for(tmp_path):
    service, (job, _) = Service(), _jobs()
    submitter = _submitter(tmp_path, service)
    submitter.submit(job)
    moved = Job(job.name, job.program, job.values + 1e-12, job.shots, job.seed)
    with pytest.raises(StoreError, match=r"other inputs.*a 1"):
        submitter.submit(moved)
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


def _entry(key: str, **more: object) -> Entry:
    about = {"key": key, "name": "job", "circuits": 3, "shots": 10, "seconds": 1.0, "at": now()}
    return Entry(**{**about, **more})


def _fill(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.intend(_entry(ONE, versions={"qiskit": "2"}, calibrated="2026"))
    ledger.submitted(ONE, "id1")
    ledger.failed(ONE, "id1", "warm")
    ledger.intend(_entry(ONE, failed=("id1",)))
    ledger.submitted(ONE, "id2")
    ledger.collected(ONE, counts_sha256="0" * 64, finished="2026-01-01T00:00:00Z", used_s=2.5)
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
    assert (torn.find(ONE) is not None) == (lines > 0)
    torn.intend(_entry(TWO))  # goes on after the last whole line
    assert path.read_bytes().count(b"\n") == lines + 1
    assert path.read_bytes().endswith(b"\n")
    assert Ledger(path).entries == torn.entries


def test_what_a_ledger_says_of_a_job(tmp_path):
    entry = _fill(tmp_path / "ledger.jsonl").entries[ONE]
    assert (entry.status, entry.job_id, entry.failed) == ("collected", "id2", ("id1",))
    assert (entry.used_s, entry.tag) == (2.5, f"qbench-{ONE}")


@pytest.mark.parametrize(
    ("line", "changed", "told"),
    [
        (2, b"{...", "Expecting"),
        (2, b"[1]", "integer"),
        (2, b'{"event": "paid", "key": "%s"}' % ONE.encode(), "status"),
        (2, b'{"event": "submitted", "key": "elsewhere", "job_id": "x"}', "elsewhere"),
        (2, b'{"event": "submitted", "key": "%s", "job_id": "a\\u202eb"}' % ONE.encode(), "job_id"),
        (6, b'{"event": "collected", "key": "%s", "finished": 5}' % ONE.encode(), "finished"),
    ],
)
def test_a_ledger_damaged_in_the_middle_stops_the_run(line, changed, told, tmp_path):
    path = tmp_path / "ledger.jsonl"
    _fill(path)
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = changed
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match=rf"line {line} \(.*{told}.*by its tag") as caught:
        Ledger(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00", "soon", 5e300, None])
def test_a_ledger_with_a_time_that_is_none_is_refused(at, tmp_path):
    path = tmp_path / "ledger.jsonl"
    _fill(path)
    lines = path.read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "at": at})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError, match=r"line 1 \(at: "):
        Ledger(path)


def test_a_ledger_that_is_a_link_is_not_followed(tmp_path):
    _fill(tmp_path / "elsewhere.jsonl")
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(StoreError, match="link"):
        Ledger(tmp_path / "ledger.jsonl")
