"""From a begun run to its results, as far as the jobs go."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from qbench.files import write_atomically
from qbench.hardware.desk import JobFailedError
from qbench.hardware.interface import Job
from qbench.hardware.results import Results, results
from qbench.hardware.run import HardwareRun, Images, Said, Work
from qbench.hardware.square import attack_device


def carry_on(
    run: HardwareRun,
    said: Said,
    *,
    submit: bool = True,
    retry_failed: bool = False,
    wait: bool = True,
) -> dict[str, Any] | None:
    """Do what is left of a run.

    Args:
        run: Held by `HardwareRun.begun`.
        said: Called with one line for each step.
        submit: Hand in what is missing; otherwise only collect.
        retry_failed: Hand jobs that failed in again.
        wait: Wait for jobs; otherwise take what is done.

    Returns:
        What is in `report.json`, or None where jobs are left.

    Raises:
        ServiceError: The service refuses, cannot be reached, or a job failed.
    """
    work = run.prepare(lambda task, record: said(f"{task.title}: {record.status}"))
    jobs = run.transferred(work)
    if not _stage(run, jobs, said, submit=submit, retry_failed=retry_failed, wait=wait):
        return None
    square: list[Images] = []
    if run.plan.square_queries:
        if not submit or not wait:
            said("Square attacks the device query by query: 'qbench hardware resume' does that")
            return None
        square = attack_device(run, work, said, retry_failed=retry_failed)
        more = [job for images in square for job in run.jobs(images.name, work.model, images.x)]
        _stage(run, more, said, submit=True, retry_failed=retry_failed, wait=True)
    return _report(run, work, results(run, work, square))


def _stage(
    run: HardwareRun,
    jobs: list[Job],
    said: Said,
    *,
    submit: bool,
    retry_failed: bool,
    wait: bool,
) -> bool:
    """Hand in and collect jobs; whether all are here."""
    failures: list[JobFailedError] = []
    if submit:
        for job in jobs:
            try:
                run.submit([job], said, retry_failed=retry_failed)
            except JobFailedError as error:  # the others are still worth handing in
                failures.append(error)
    if wait and not failures:
        left = len(jobs)

        def done(job: Job) -> None:
            nonlocal left
            left -= 1
            said(f"{job.name}: collected, {left} jobs left")

        run.desk.wait(jobs, done)
        return True
    missing = 0
    for job in jobs:
        try:
            missing += not run.desk.collect(job)
        except JobFailedError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return not missing


def _report(run: HardwareRun, work: Work, found: Results) -> dict[str, Any]:
    program = run.jobs("clean", work.model, work.split.x[:1])[0].program
    report = {
        "model": run.plan.model,
        "seed": run.plan.seed,
        "engine": run.engine.name,
        "device": program.about.get("device"),
        "calibrated": program.about.get("calibrated"),
        "shots": run.plan.shots,
        "images": len(work.split.y),
        "mitigation": run.options,
        "circuit": dict(program.about),
        "jobs": len(run.ledger.entries),
        "rows": found.rows,
        "signal": {k: None if v is None else asdict(v) for k, v in found.signal.items()},
        "readout_error": found.readout_error,
        "score_error": found.score_error,
    }
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    write_atomically(run.folder / "report.json", text.encode())
    return report
