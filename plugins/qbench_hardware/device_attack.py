"""Attacks on the device itself: searches that see nothing but counts."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.engines.modules import on_engine
from qbench.engines.recording import Batch
from qbench.evaluation.attack import runnable
from qbench.evaluation.crafting import craft
from qbench_hardware.run import HardwareRun, Images, Work, job_name
from qbench_hardware.submitter import Said


def attack_device(
    run: HardwareRun, work: Work, said: Said, *, retry_failed: bool = False
) -> list[Images]:
    """Images of each attack on the device; queries are jobs, and replayed on resuming.

    Raises:
        Unsupported: An attack cannot be run on this model or under this protocol.
        ServiceError: As `JobSubmitter.carry_out`.
    """
    found = []
    for task in run.device:
        asked = task.identity
        name = job_name(task, "on the device: ")
        with on_engine(work.model, _OnDevice(run, name, said, retry_failed)):
            crafted = craft(
                runnable(run.context, asked.attack.name, asked.attack.params, work.model),
                work.model,
                work.x,
                run.context.split.y,
                run.context.threat_model(asked.eps),
                run.identity(task, on_device=True, readout=False).random_seed,
            )
        found.append(Images(task, crafted.x_adv, name, True, forward=crafted.forward))
    return found


class _OnDevice:
    """An engine whose every call is a job; the n-th call of a replayed attack is the same job."""

    exact = False
    differentiable = False

    def __init__(self, run: HardwareRun, name: str, said: Said, retry_failed: bool) -> None:
        self.name, self._run, self._said, self._retry = name, run, said, retry_failed
        self._calls = 0

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        batch = Batch(circuit, angles.detach(), None if state is None else state.detach())
        jobs = self._run.chunks(f"{self.name}/query{self._calls}", batch)
        self._calls += 1
        self._run.submitter.carry_out(jobs, self._said, retry_failed=self._retry)
        return torch.from_numpy(self._run.frequencies(jobs)).to(angles)
