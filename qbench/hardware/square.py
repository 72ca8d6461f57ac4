"""Square on the device itself: a random search that sees nothing but counts."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.crafting import craft
from qbench.errors import Unsupported
from qbench.hardware.circuits import Batch, on_engine
from qbench.hardware.run import HardwareRun, Images, Said, Work
from qbench.protocols import load_protocol
from qbench.specs import AttackSpec


def attack_device(
    run: HardwareRun, work: Work, said: Said, *, retry_failed: bool = False
) -> list[Images]:
    """Square on the device itself, at each budget: queries are jobs, and replayed on resuming.

    Raises:
        ServiceError: As `Desk.submit` and `Desk.collect`.
    """
    queries, protocol = run.plan.square_queries, load_protocol(run.plan.protocol)
    if not queries:
        return []
    found = []
    for eps in run.plan.eps:
        params = {**protocol.attack_params("square", eps), "queries": queries}
        provided = run.registry.get("attack", "square")
        spec: AttackSpec = provided.spec
        if protocol.norm not in spec.norms:
            raise Unsupported(f"square cannot be bounded in {protocol.norm}")
        name = f"square:queries={queries}({eps:g})"
        engine = _OnDevice(run, name, said, retry_failed)
        with on_engine(work.model, engine):
            crafted = craft(
                provided.create(**params),
                work.model,
                work.split.x,
                work.split.y,
                protocol.threat_model(eps),
                run.plan.derived_seed(name),
            )
        found.append(Images(name, crafted.x_adv))
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
        self._run.submit(jobs, self._said, retry_failed=self._retry)
        self._run.desk.wait(jobs)
        frequencies = self._run.frequencies(jobs)
        assert frequencies is not None
        return torch.from_numpy(frequencies).to(angles)
