"""From a begun run to its results, as far as the jobs go."""

from __future__ import annotations

import json
from typing import Any

from qbench.files import write_atomically
from qbench_hardware.device_attack import attack_device
from qbench_hardware.measurement import measure
from qbench_hardware.run import HardwareRun
from qbench_hardware.submitter import Said


def resume(
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
    attacked, jobs, carry_out = list(work.attacked), run.independent(work), run.submitter.carry_out
    if not carry_out(jobs, said, submit=submit, retry_failed=retry_failed, wait=wait):
        return None
    if run.device:
        if not submit or not wait:
            said("the device is attacked query by query: 'qbench hardware resume' does that")
            return None
        found = attack_device(run, work, said, retry_failed=retry_failed)
        more = [job for images in found for job in run.jobs(images.name, work.model, images.x)]
        carry_out(more, said, retry_failed=retry_failed)
        attacked += found
    report = measure(run, work, attacked)
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    write_atomically(run.folder / "report.json", text.encode())
    return report
