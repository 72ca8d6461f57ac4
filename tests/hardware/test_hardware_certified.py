"""What is certified of a device from the clean images that it counted anyway."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qbench.engines import create_engine
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import TaskContext, run_task
from qbench.records.identity import Engine, Method, RadiiId
from qbench.records.record import Device
from qbench_hardware.certified import CountedRadii, row
from qbench_hardware.circuits import circuits_of


def test_recorded_counts_are_certified_as_the_devices_own() -> None:
    selection = RunSelection(
        models=("reup-hw4",), attacks=(), certifiers=("counts",), shots=4096, seeds=[0], limit=6
    )
    tasks = {task.identity.kind: task for task in make_plan(selection)}
    training, planned = tasks["training"], tasks["radii"]
    trained = run_task(training, {})
    asked, context = planned.identity, TaskContext(planned)
    model = context.ideal(trained)
    batch = circuits_of(model, context.split.x)
    engine = create_engine("statevector", 4096, seed=1)
    with torch.no_grad():
        counted = engine.probabilities(batch.circuit, batch.angles).double().numpy()
    given = {name: getattr(asked, name) for name in ("protocol", "data", "model", "norm", "eps")}
    identity = RadiiId(
        **given,
        certifier=Method(name="counts", params={"failure": 0.001, "centred": False}),
        engine=Engine(name="ibm:ibm_somewhere", shots=4096),
    )
    device = Device(name="somewhere", simulated=False, jobs=["job1"])
    common = {"identity": identity, "needs": planned.needs, "limit": 6, "device": device}
    result = run_task(CountedRadii(**common, counted=counted), {training.identity.id: trained})
    assert result.record.status == "done", result.record.reason
    assert result.record.device == device
    assert result.columns["radius"].max() > 0.01
    found = row(result)
    assert found["confidence"] == pytest.approx(0.999)
    assert [one["eps"] for one in found["certified"]] == asked.eps
    assert found["certified"][0]["accuracy"] > 0.5
    nothing = CountedRadii(**common, counted=np.full_like(counted, 1 / 16))
    lost = run_task(nothing, {training.identity.id: trained})
    assert lost.columns["radius"].max() == 0
