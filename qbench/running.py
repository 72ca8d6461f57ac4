"""Runs one task: its stage, and the record of what came out."""

from __future__ import annotations

import time
from typing import Literal

from torch import nn

from qbench.engines import DEFAULT
from qbench.errors import Unsupported, VerificationError
from qbench.interfaces import Engine
from qbench.records import (
    AttackRef,
    CertifierRef,
    Cost,
    DatasetRef,
    EngineRef,
    FileRef,
    Flag,
    ModelRef,
    PerturbationsRef,
    ProtocolRef,
    Record,
    ThreatModelRef,
)
from qbench.stages import STAGES, Inputs, Result, Workplace
from qbench.store import Outcome, file_ref, to_npz
from qbench.tasks import Task, environment


def run_task(task: Task, inputs: Inputs) -> Outcome:
    """Run a task; whatever goes wrong inside it becomes a skipped or failed record.

    Args:
        task: What to do.
        inputs: Outcomes of the tasks it needs, by key.
    """
    place = Workplace(task)
    started = time.perf_counter()
    try:
        _check_needs(task, inputs)
        result = STAGES[task.kind](place, inputs)
    except Unsupported as error:
        result = Result(status="skipped", reason=str(error))
    except VerificationError as error:
        flags: tuple[Flag, ...] = ()
        if task.kind == "robust-accuracy":
            flags = ("attack-rejected",)
        result = Result(status="failed", reason=f"VerificationError: {error}", flags=flags)
    except (Exception, SystemExit) as error:  # stages run plugins: they may not take the run down
        result = Result(status="failed", reason=f"{type(error).__name__}: {error}")
    return _outcome(place, result, time.perf_counter() - started)


def _check_needs(task: Task, inputs: Inputs) -> None:
    # A diagnosis looks at whatever the attacks left, as long as there is a model.
    for key in task.needs[:1] if task.kind == "diagnosis" else task.needs:
        record = inputs[key].record
        if record.status != "done":
            what = f"{record.task} of {record.target.model}"
            raise Unsupported(f"needs the {what}, which is {record.status}: {record.reason}")


def _outcome(place: Workplace, result: Result, seconds: float) -> Outcome:
    task, protocol, dataset = place.task, place.protocol, place.dataset
    files: dict[str, bytes] = {}
    images = artifact = None
    if result.images is not None:
        images = _keep(files, f"{task.key}.npz", to_npz(result.images))
    if result.artifact is not None:
        suffix, content = result.artifact
        artifact = _keep(files, f"{task.key}{suffix}", content)
    record = Record(
        task=task.kind,
        key=task.key,
        status=result.status,
        reason=result.reason,
        protocol=ProtocolRef(name=protocol.name, sha256=protocol.sha256),
        dataset=DatasetRef(
            name=dataset.name,
            version=dataset.version,
            sha256=dataset.sha256,
            split=protocol.selection.split,
            n=len(place.split.y),
        ),
        target=_model_ref(place, task.model, result.target, result.weights_sha256),
        source=_model_ref(place, task.source) if task.source else None,
        attack=_attack_ref(place),
        certifier=_certifier_ref(place),
        threat_model=_threat_model_ref(place),
        perturbations=_perturbations_ref(place),
        engine=_engine_ref(task, result.target),
        metrics=result.metrics,
        flags=list(result.flags),
        cost=Cost(wall_s=round(seconds, 4), forward=result.forward, gradient=result.gradient),
        environment=environment(engines=task.engine is not None),
        images=images,
        artifact=artifact,
    )
    return Outcome(record, files)


def _keep(files: dict[str, bytes], name: str, content: bytes) -> FileRef:
    files[name] = content
    return file_ref(name, content)


def _model_ref(
    place: Workplace, name: str, model: nn.Module | None = None, weights: str | None = None
) -> ModelRef:
    provided = place.spec(name)
    return ModelRef(
        model=name,
        plugin=provided.plugin,
        version=provided.version,
        family=provided.spec.family,
        structure=provided.spec.structure,
        parameters=None if model is None else sum(p.numel() for p in model.parameters()),
        seed=place.task.seed,
        weights_sha256=weights,
    )


def _attack_ref(place: Workplace) -> AttackRef | None:
    task = place.task
    if task.attack is None or task.label is None:
        return None
    provided = place.registry.get("attack", task.attack)
    return AttackRef(
        name=task.attack,
        label=task.label,
        plugin=provided.plugin,
        version=provided.version,
        params=dict(task.params),
    )


def _certifier_ref(place: Workplace) -> CertifierRef | None:
    if place.task.certifier is None:
        return None
    provided = place.registry.get("certifier", place.task.certifier)
    return CertifierRef(
        name=place.task.certifier,
        plugin=provided.plugin,
        version=provided.version,
        source=provided.spec.source,
    )


def _threat_model_ref(place: Workplace) -> ThreatModelRef | None:
    if place.task.eps is None:
        return None
    threat = place.protocol.threat_model(place.task.eps)
    return ThreatModelRef(norm=threat.norm, eps=threat.eps, box=threat.box, goal="untargeted")


def _perturbations_ref(place: Workplace) -> PerturbationsRef | None:
    about = place.perturbations
    if about is None:
        return None
    return PerturbationsRef(norm=about.norm, eps=list(about.eps), box=about.box)


def _engine_ref(task: Task, target: nn.Module | None) -> EngineRef | None:
    crafted_on: Literal["engine", "twin"] = "twin" if task.twin else "engine"
    engine = getattr(target, "engine", None)
    if isinstance(engine, Engine):
        # Shots are drawn from what an engine gives without them: noise, or the exact circuit.
        noisy = not getattr(engine, "engine", engine).exact
        return EngineRef(
            name=engine.name,
            shots=task.shots,
            exact=engine.exact,
            crafted_on=crafted_on,
            device=getattr(getattr(engine, "engine", engine), "device", None) if noisy else None,
        )
    if task.engine is None and task.shots is None:
        return None
    return EngineRef(
        name=task.engine or DEFAULT, shots=task.shots, exact=False, crafted_on=crafted_on
    )
