"""What a device counted, as records and as a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qbench.evaluation import scoring
from qbench.evaluation.attack import accuracies
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, run_task
from qbench.records.columns import Columns, to_npz
from qbench.records.identity import AttackId
from qbench.records.record import AccuracyMetrics, Device
from qbench_hardware.certified import certify
from qbench_hardware.certified import row as certified_row
from qbench_hardware.circuits import scores_of
from qbench_hardware.interface import Counts, Job
from qbench_hardware.noise import Readout, Signal, score_errors
from qbench_hardware.run import CLEAN, Frequencies, HardwareRun, Images, Work, require_done
from qbench_hardware.worst import half_margins, worst_case

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceTask(Task):
    """Scoring what a device counted. Needs the training, and asks no service.

    Args:
        identity: What was measured.
        images: The adversarial images.
        counted: Counts (n, outcomes) of clean and of adversarial images, as read.
        readout: Corrects them; None to take them as they are.
        device: Where and when.
    """

    identity: AttackId
    images: Images
    counted: tuple[Counts, Counts]
    readout: Readout | None
    device: Device

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Score."""
        trained, (x, y) = context.trained(inputs), (context.split.x, context.split.y)
        model, readout = context.ideal(trained), self.readout
        asked = self.identity.engine
        assert asked is not None
        assert asked.shots is not None
        shots, sets = asked.shots, (x, self.images.x)
        raw = [counted / shots for counted in self.counted]
        clean, adversarial = (
            scores_of(model, images, corrected(one, readout))[None]
            for images, one in zip(sets, raw, strict=True)
        )
        # The clean images are dealt alike for every attack, and each attack's by itself.
        halves = [
            half_margins(model, images, y, counted, readout, seed)
            for images, counted, seed in zip(
                sets, self.counted, (0, self.identity.random_seed), strict=True
            )
        ]
        scored = scoring.outcomes(clean, adversarial, x, self.images.x, y)
        signs = None if readout is None else readout.signs
        errors = [score_errors(one, shots, signs).astype(np.float32) for one in raw]
        return Found(
            metrics=accuracies(scored),
            weights=trained.record.weights or "",
            columns={
                **vars(scored),
                "clean_half_margin": halves[0],
                "adversarial_half_margin": halves[1],
                "clean_score_error": errors[0],
                "adversarial_score_error": errors[1],
            },
            artifact=to_npz({"x_adv": self.images.x.numpy().astype(np.float32)}),
            device=self.device,
            forward=self.images.forward + 2 * len(y),
        )


def measure(run: HardwareRun, work: Work, attacked: Sequence[Images]) -> dict[str, Any]:
    """Score what was counted, and store the records; every job must be collected.

    Each attack gives one record, and one more without readout errors where they were measured; the
    clean images give one of what they certify, as read.

    Returns:
        What the run found, as JSON values: among it a row an attack, and the signal scales.
    """
    model, sets = work.model, [(CLEAN, work.x), *((one.name, one.x) for one in attacked)]
    jobs = [run.jobs(name, model, x) for name, x in sets]
    counts = [run.counts(part) for part in jobs]
    raw = [one / run.plan.shots for one in counts]
    program = jobs[0][0].program
    readout = run.readout(program)
    exact = np.concatenate([scoring.predict(model, x).double().numpy() for _, x in sets])
    rows = [_row(images) for images in attacked]
    signals: dict[str, Signal | None] = {}
    ways = {"raw": None, **({"corrected": readout} if readout else {})}
    halves: dict[str, list[Columns]] = {way: [] for way in ways}
    for way, correction in ways.items():
        used = [corrected(one, correction) for one in raw]
        shown = [
            scores_of(model, x, u).double().numpy() for (_, x), u in zip(sets, used, strict=True)
        ]
        signals[way] = signal = Signal.fitted(exact, np.concatenate(shown))
        for row, images, seen, own in zip(rows, attacked, counts[1:], jobs[1:], strict=True):
            task = DeviceTask(
                identity=run.identity(
                    images.task, on_device=images.on_device, readout=correction is not None
                ),
                needs=images.task.needs,
                label=images.task.label,
                limit=images.task.limit,
                plugins=images.task.plugins,
                images=images,
                counted=(counts[0], seen),
                readout=correction,
                device=_device(run, [*jobs[0], *own], signal),
            )
            result = run_task(task, {run.training.identity.id: work.trained})
            require_done(result.record)
            run.store.write(result)
            metrics = result.record.metrics
            assert isinstance(metrics, AccuracyMetrics)
            row[f"{way} clean"] = metrics.clean_accuracy
            row[f"{way} robust"] = metrics.robust_accuracy
            halves[way].append(result.columns or {})
    certified = certify(run, work, raw[0], _device(run, jobs[0], signals["raw"]))
    if certified is not None:
        run.store.write(certified)
    return {
        "model": run.plan.model,
        "seed": run.plan.seed,
        "engine": run.engine.name,
        "device": program.about.get("device"),
        "calibrated": program.about.get("calibrated"),
        "shots": run.plan.shots,
        "images": len(work.x),
        "mitigation": run.options,
        "circuit": dict(program.about),
        "jobs": len(run.submitter.ledger.entries),
        "rows": [*rows, *_worst(rows, halves)],
        "certified": None if certified is None else certified_row(certified),
        "signal": {way: None if s is None else asdict(s) for way, s in signals.items()},
        "readout_error": None if readout is None else readout.error,
        "score_error": float(score_errors(np.concatenate(raw), run.plan.shots).mean()),
    }


def corrected(frequencies: Frequencies, readout: Readout | None) -> Frequencies:
    """Frequencies without readout errors, where these are known."""
    return frequencies if readout is None else readout.correct(frequencies)


def _device(run: HardwareRun, jobs: Sequence[Job], signal: Signal | None) -> Device:
    about = jobs[0].program.about
    entries = [entry for job in jobs if (entry := run.submitter.entry(job)) is not None]
    finished = [entry.finished for entry in entries if entry.finished is not None]
    return Device(
        name=about.get("device"),
        simulated=run.engine.local,
        calibrated=about.get("calibrated"),
        date=max(finished, default=None),
        jobs=[entry.job_id for entry in entries if entry.job_id is not None],
        signal_scale=None if signal is None else signal.scale,
    )


def _row(images: Images) -> Row:
    ideal = images.ideal
    return {
        "attack": images.task.label,
        "eps": images.task.identity.eps,
        "crafted on": "device" if images.on_device else "ideal",
        "ideal clean": None if ideal is None else ideal.clean_accuracy,
        "ideal robust": None if ideal is None else ideal.robust_accuracy,
    }


def _worst(rows: Sequence[Row], halves: Mapping[str, Sequence[Columns]]) -> list[Row]:
    """The worst case over attacks at each budget with more than one, as `worst_case` judges it."""
    worst = []
    for eps in dict.fromkeys(row["eps"] for row in rows):
        at = [place for place, row in enumerate(rows) if row["eps"] == eps]
        if len(at) > 1:
            row: Row = {"attack": "worst case", "eps": eps, "crafted on": "both"}
            for way, columns in halves.items():
                row[f"{way} clean"] = rows[at[0]][f"{way} clean"]
                attacked = [columns[place]["adversarial_half_margin"] for place in at]
                clean = columns[at[0]]["clean_half_margin"]
                row[f"{way} robust"] = worst_case(clean, attacked)
            worst.append(row)
    return worst
