"""What is certified of a device from the clean images that it counted anyway."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from qbench.engines.modules import use_engine
from qbench.evaluation.radii import BUDGETS, RadiiTask
from qbench.evaluation.task import TaskContext, run_task
from qbench.records.identity import Engine, Method, RadiiId
from qbench.records.record import Device, RadiiMetrics
from qbench.records.results import Result
from qbench_hardware.circuits import Replayed
from qbench_hardware.run import Frequencies, HardwareRun, Work

CERTIFIER = "counts"


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedRadii(RadiiTask):
    """Certifying what a device computes, from counts that are there. Asks no service.

    Args:
        counted: Relative frequencies (n, outcomes) of the clean images, as read: those with readout
            errors corrected are counts of nothing.
        device: Where and when.
    """

    counted: Frequencies
    device: Device

    def certified(self, context: TaskContext, trained: Result) -> tuple[nn.Module, Device | None]:
        """The model on an engine that counts what the device counted: once for the predictions,
        once for the certifier."""
        model, engine = context.ideal(trained), self.identity.engine
        assert engine is not None
        replayed = Replayed([self.counted, self.counted], engine.shots)
        use_engine(model, replayed)
        return model, self.device


def certify(run: HardwareRun, work: Work, counted: Frequencies, device: Device) -> Result | None:
    """Certified radii in the norm of the run's attacks; None where no certifier covers the model.

    Args:
        run: Held by `HardwareRun.begun`.
        work: The model.
        counted: Relative frequencies (n, outcomes) of the clean images, as read.
        device: Where and when.
    """
    provided = run.registry.all("certifier").get(CERTIFIER)
    attacked = run.ideal[0]
    norm = attacked.identity.norm
    if provided is None or norm not in provided.spec.norms:
        return None
    if not provided.spec.covers(run.context.provided.spec.structure):
        return None
    # Devices counted the images themselves, and were not asked about the centres of their boxes.
    params = provided.resolved({"centred": False})
    own = [float(eps) for eps in run.plan.eps if eps > 0]
    identity = RadiiId(
        protocol=attacked.identity.protocol,
        data=attacked.identity.data,
        model=attacked.identity.model,
        certifier=Method(name=CERTIFIER, revision=provided.spec.revision, params=params),
        norm=norm,
        eps=sorted({*BUDGETS[norm], *own}),
        engine=Engine(name=run.engine.name, shots=run.plan.shots, mitigation=run.options),
    )
    task = CountedRadii(
        identity=identity,
        needs=attacked.needs,
        limit=attacked.limit,
        plugins=attacked.plugins,
        counted=counted,
        device=device,
    )
    return run_task(task, {run.training.identity.id: work.trained})


def row(result: Result) -> dict[str, object] | None:
    """What was certified, as JSON values; None where the model was not covered after all."""
    metrics, task = result.record.metrics, result.record.task
    if not isinstance(metrics, RadiiMetrics) or task.kind != "radii":
        return None
    shares = zip(task.eps, metrics.certified_accuracy, strict=True)
    accuracy = [{"eps": eps, "accuracy": share} for eps, share in shares]
    return {"norm": task.norm, "confidence": metrics.confidence, "certified": accuracy}
