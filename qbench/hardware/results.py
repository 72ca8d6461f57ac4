"""Records of what a device said, as read and without readout errors, and the signal left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench import scoring
from qbench.hardware.circuits import Replayed, on_engine, scores_of
from qbench.hardware.interface import Job
from qbench.hardware.noise import Readout, Signal, score_errors
from qbench.hardware.run import HardwareRun, Images, Work
from qbench.metrics import worst_case
from qbench.records import (
    AccuracyMetrics,
    AttackRef,
    Cost,
    EngineRef,
    FileRef,
    Record,
    ThreatModelRef,
    canonical_sha256,
)
from qbench.scoring import Scored
from qbench.store import Outcome, file_ref, to_npz

Frequencies = NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """What a finished run found.

    Args:
        records: One for each attack, and one more without readout errors where they were measured.
        rows: The same for people: `attack`, `eps`, accuracies of the twin and of the device.
        signal: Of the scores as read, and `corrected` for readout errors.
        readout_error: Mean probability of a wrong outcome; None where it was not measured.
        score_error: Mean standard error of a score as read.
    """

    records: tuple[Record, ...]
    rows: list[dict[str, Any]]
    signal: Mapping[str, Signal | None]
    readout_error: float | None
    score_error: float


@dataclass(frozen=True)
class _Set:
    """Images with what the device counted for them, as read or corrected."""

    images: Images
    jobs: tuple[Job, ...]
    raw: Frequencies
    used: Frequencies


def results(run: HardwareRun, work: Work, square: Sequence[Images]) -> Results:
    """Score what was counted and store the records; every job must be collected."""
    everything = [*work.images, *square]
    jobs = {images.name: run.jobs(images.name, work.model, images.x) for images in everything}
    readout = run.readout(jobs[everything[0].name][0].program)
    records: list[Record] = []
    rows: list[dict[str, Any]] = []
    signal: dict[str, Signal | None] = {}
    for way, correction in (("raw", None), ("corrected", readout)):
        if way == "corrected" and correction is None:
            continue
        sets = [_set(run, images, jobs[images.name], correction) for images in everything]
        signal[way] = _signal(work, sets)
        outcomes = [_outcome(run, work, sets[0], one, correction, signal[way]) for one in sets[1:]]
        for outcome, _ in outcomes:
            run.store.write(outcome)
        records += [outcome.record for outcome, _ in outcomes]
        _fill(
            rows,
            way,
            [(one.images, scored) for one, (_, scored) in zip(sets[1:], outcomes, strict=True)],
        )
    raw = np.concatenate([_frequencies(run, part) for part in jobs.values()])
    return Results(
        records=tuple(records),
        rows=[*rows, *_worst(rows)],
        signal=signal,
        readout_error=None if readout is None else readout.error,
        score_error=float(score_errors(raw, run.plan.shots).mean()),
    )


def _frequencies(run: HardwareRun, jobs: Sequence[Job]) -> Frequencies:
    found = run.frequencies(list(jobs))
    assert found is not None
    return found


def _set(run: HardwareRun, images: Images, jobs: Sequence[Job], correction: Readout | None) -> _Set:
    raw = _frequencies(run, jobs)
    return _Set(images, tuple(jobs), raw, raw if correction is None else correction.correct(raw))


def _signal(work: Work, sets: Sequence[_Set]) -> Signal | None:
    exact = [scoring.predict(work.model, one.images.x).double().numpy() for one in sets]
    device = [scores_of(work.model, one.images.x, one.used).double().numpy() for one in sets]
    return Signal.fitted(np.concatenate(exact), np.concatenate(device))


def _outcome(
    run: HardwareRun,
    work: Work,
    clean: _Set,
    attacked: _Set,
    correction: Readout | None,
    signal: Signal | None,
) -> tuple[Outcome, Scored]:
    with on_engine(work.model, Replayed([clean.used, attacked.used])):
        scored = scoring.score(work.model, work.split.x, attacked.images.x, work.split.y)
    engine = _engine_ref(run, (*clean.jobs, *attacked.jobs), attacked, correction, signal)
    attack, threat = _attack(run, work, attacked.images)
    key = canonical_sha256(
        {
            "trained": work.trained.key,
            "attack": attack.model_dump(mode="json"),
            "threat_model": threat.model_dump(mode="json"),
            "engine": engine.model_dump(mode="json"),
            "jobs": [job.key(run.engine.name, run.plan.run_id) for job in attacked.jobs],
        }
    )
    content = to_npz(_columns(run, scored, clean, attacked, correction))
    images: FileRef = file_ref(f"{key}.npz", content)
    record = work.trained.model_copy(
        update={
            "task": "robust-accuracy",
            "key": key,
            "dataset": work.trained.dataset.model_copy(update={"n": len(work.split.y)}),
            "attack": attack,
            "threat_model": threat,
            "engine": engine,
            "metrics": AccuracyMetrics(
                clean_accuracy=scored.clean_accuracy,
                adversarial_accuracy=scored.adversarial_accuracy,
                robust_accuracy=scored.robust_accuracy,
                wilson95=scored.wilson95,
            ),
            "cost": Cost(wall_s=0.0, forward=len(work.split.y) * 2),
            "environment": {**work.trained.environment, **_versions(attacked)},
            "images": images,
            "artifact": None,
        }
    )
    return Outcome(record, {images.file: content}), scored


def _engine_ref(
    run: HardwareRun,
    jobs: Sequence[Job],
    attacked: _Set,
    correction: Readout | None,
    signal: Signal | None,
) -> EngineRef:
    about = attacked.jobs[0].program.about
    entries = [entry for job in jobs if (entry := run.desk.entry(job)) is not None]
    finished = sorted(entry.finished for entry in entries if entry.finished is not None)
    return EngineRef(
        name=run.engine.name,
        shots=run.plan.shots,
        exact=False,
        crafted_on="engine" if attacked.images.record is None else "twin",
        device=about.get("device"),
        calibrated=about.get("calibrated"),
        date=finished[-1] if finished else None,
        job_ids=[entry.job_id for entry in entries if entry.job_id is not None],
        mitigation={**run.options, **({"readout": True} if correction else {})},
        signal_scale=None if signal is None else signal.scale,
    )


def _attack(run: HardwareRun, work: Work, images: Images) -> tuple[AttackRef, ThreatModelRef]:
    if images.record is not None:
        assert images.record.attack is not None
        assert images.record.threat_model is not None
        return images.record.attack, images.record.threat_model
    eps = next(eps for eps in run.plan.eps if images.name.endswith(f"({eps:g})"))
    provided = run.registry.get("attack", "square")
    queries = run.plan.square_queries
    params = {**run.place.protocol.attack_params("square", eps), "queries": queries}
    attack = AttackRef(
        name="square",
        label=f"square:queries={queries}",
        plugin=provided.plugin,
        version=provided.version,
        params=params,
    )
    threat = run.place.protocol.threat_model(eps)
    return attack, ThreatModelRef(norm=threat.norm, eps=eps, box=threat.box, goal="untargeted")


def _versions(attacked: _Set) -> dict[str, str]:
    return dict(attacked.jobs[0].program.about.get("versions", {}))


def _columns(
    run: HardwareRun, scored: Scored, clean: _Set, attacked: _Set, correction: Readout | None
) -> dict[str, NDArray[Any]]:
    signs = None if correction is None else correction.signs
    columns: dict[str, NDArray[Any]] = {
        "index": np.arange(len(scored.label), dtype=np.int32),
        **vars(scored),
    }
    for name, one in (("clean", clean), ("adversarial", attacked)):
        errors = score_errors(one.raw, run.plan.shots, signs)
        columns[f"{name}_score_error"] = errors.astype(np.float32)
    return columns


def _fill(rows: list[dict[str, Any]], way: str, found: Sequence[tuple[Images, Scored]]) -> None:
    """Add one way of reading the device to the rows, which it makes if there are none."""
    for place, (images, scored) in enumerate(found):
        if way == "raw":
            label, _, eps = images.name.removesuffix(")").rpartition("(")
            twin = None if images.record is None else images.record.metrics
            exact = twin if isinstance(twin, AccuracyMetrics) else None
            rows.append(
                {
                    "attack": label,
                    "eps": float(eps),
                    "crafted on": "device" if images.record is None else "twin",
                    "twin clean": exact and exact.clean_accuracy,
                    "twin robust": exact and exact.robust_accuracy,
                }
            )
        rows[place] |= {
            f"{way} clean": scored.clean_accuracy,
            f"{way} robust": scored.robust_accuracy,
            f"_{way}": scored.robust,
        }


def _worst(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst case over attacks at each budget; takes the images out of the rows."""
    worst = []
    ways = [way for way in ("raw", "corrected") if rows and f"_{way}" in rows[0]]
    for eps in dict.fromkeys(row["eps"] for row in rows):
        at = [row for row in rows if row["eps"] == eps]
        if len(at) > 1:
            row = {"attack": "worst case", "eps": eps, "crafted on": "both"}
            for way in ways:
                images = worst_case(np.stack([one[f"_{way}"] for one in at]))
                row[f"{way} clean"] = at[0][f"{way} clean"]
                row[f"{way} robust"] = float(images.mean())
            worst.append(row)
    for row in rows:
        for way in ways:
            del row[f"_{way}"]
    return worst
