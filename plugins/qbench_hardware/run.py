"""A hardware run: crafted on the ideal simulator, evaluated on the device, job by job."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.engines.recording import Batch
from qbench.errors import StoreError, UsageError, VerificationError
from qbench.evaluation.attack import AttackTask
from qbench.evaluation.executors import InProcess
from qbench.evaluation.scheduler import Scheduler
from qbench.evaluation.task import Task, TaskContext
from qbench.files import own_folder, read_file, write_atomically
from qbench.plugin_files import PluginFile
from qbench.records import identity as ids
from qbench.records.columns import from_npz
from qbench.records.record import AccuracyMetrics, Record
from qbench.records.results import Result
from qbench.records.schema import Sha256, Strict, canonical_sha256
from qbench.records.store import RunStore, first_error
from qbench_hardware.circuits import circuits_of
from qbench_hardware.interface import Counts, Job, JobEngine, Program
from qbench_hardware.ledger import Ledger
from qbench_hardware.noise import Readout
from qbench_hardware.plan import HardwarePlan
from qbench_hardware.submitter import JobSubmitter

READOUT, CIRCUIT, CLEAN = "readout", "circuit", "clean"
Frequencies = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """Images made by an attack, to be evaluated on the device.

    Args:
        task: The attack as it is planned on the ideal simulator.
        x: (n, features).
        name: Of their jobs.
        on_device: Whether the attack saw the device.
        ideal: What the same images do on the ideal simulator, if that is known.
        forward: Images that an attack on the device passed through the model.
    """

    task: AttackTask
    x: Tensor
    name: str
    on_device: bool = False
    ideal: AccuracyMetrics | None = None
    forward: int = 0


@dataclass(frozen=True)
class Work:
    """What a run evaluates: a model on its ideal simulator, and images made there.

    Args:
        model: The trained model.
        trained: The result of its training.
        x: Clean images (n, features).
        attacked: Adversarial images.
    """

    model: nn.Module
    trained: Result
    x: Tensor
    attacked: list[Images] = field(default_factory=list)


class _Kept(Strict):
    """A circuit on file: `content` in base64, and values of its parameters where they are fixed."""

    content: str
    sha256: Sha256
    outcomes: int
    about: dict[str, Any]
    values: list[list[float]]


class HardwareRun:
    """The jobs of a plan, in a folder.

    The folder is a `RunStore`; `hardware/` in it holds the plan, the ledger, compiled circuits, and
    the counts of every job.

    Args:
        plan: What to do.
        root: The folder.
        files: The plugins that the plan names.

    Raises:
        UsageError: The engine takes no jobs, or the model runs no circuits.
        UnknownNameError: A name that nobody provides.
    """

    submitter: JobSubmitter  # while the folder is held

    def __init__(self, plan: HardwarePlan, root: Path, files: Sequence[PluginFile] = ()) -> None:
        self.plan, self.root = plan, root
        self.registry = plan.registry(files)
        self.training, self.ideal, self.device = plan.tasks(files, self.registry)
        self.context = TaskContext(self.ideal[0])  # an attack: the training sees all images
        if self.context.provided.spec.family != "quantum":
            raise UsageError(f"{plan.model} runs no circuits: only quantum models run on devices")
        self.engine = plan.connect(self.registry)
        self.options = self.engine.mitigation(plan.options)
        self.store = RunStore(root)
        self.folder = root / "hardware"
        self._programs: dict[str, tuple[Program, Frequencies]] = {}

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hold the folder, make the plan part of it, and read the ledger.

        Raises:
            UsageError: The folder holds another run.
            StoreError: Somebody else holds it, or it is damaged.
        """
        with self.store.locked():
            own_folder(own_folder(self.folder) / "counts")
            resumed = os.path.lexists(self.folder / "run.json")
            if not resumed:
                self.plan = self.plan.model_copy(update={"account": self.engine.account})
                self.plan.save(self.root)
            elif HardwarePlan.load(self.root) != self.plan:
                raise UsageError(
                    f"{self.root} holds another run: 'qbench hardware resume {self.root}' goes on "
                    "with that one; choose another --out for this one"
                )
            else:
                self._programs.clear()  # the run has its own
            ledger = Ledger(self.folder / "ledger.jsonl")
            check_account(self.plan, ledger, self.engine)
            self.submitter = JobSubmitter(
                self.engine, ledger, self.root, self.plan.run_id, resumed=resumed
            )
            try:
                yield
            finally:
                self.engine.close()
                del self.submitter

    def prepare(self, on_done: Callable[[Task, Record], None] = lambda *_: None) -> Work:
        """Train or read the model, and craft on the ideal simulator; done once a folder.

        Raises:
            VerificationError: An attack failed.
        """
        tasks = [self.training, *self.ideal]
        records = Scheduler(tasks, self.store, InProcess(), on_done).run()
        for record in records:
            require_done(record)
        trained = Result(records[0], artifact=self._artifact(records[0]))
        work = Work(self.context.ideal(trained), trained, self.context.split.x)
        for task, record in zip(self.ideal, records[1:], strict=True):
            x_adv = torch.from_numpy(from_npz(self._artifact(record), record.title)["x_adv"])
            assert isinstance(record.metrics, AccuracyMetrics)
            work.attacked.append(Images(task, x_adv, job_name(task), ideal=record.metrics))
        return work

    def compiled(self, batch: Batch) -> Program:
        """The circuit for the device, compiled once and kept with the run."""

        def compiled() -> tuple[Program, Frequencies]:
            program = self.engine.compile(batch.circuit, batch.state is not None)
            return program, np.empty((0, 0))

        return self._kept(CIRCUIT, compiled)[0]

    def jobs(self, name: str, model: nn.Module, x: Tensor) -> list[Job]:
        """The jobs that evaluate images x (n, features)."""
        return self.chunks(name, circuits_of(model, x))

    def chunks(self, name: str, batch: Batch) -> list[Job]:
        """The jobs that run a batch of circuits."""
        program, size = self.compiled(batch), self.plan.chunk
        jobs = []
        for part, first in enumerate(range(0, len(batch), size)):
            rows = batch.rows(first, first + size)
            values = self.engine.values(program, rows.circuit, rows.angles, rows.state)
            jobs.append(self.job(f"{name}/{part}", program, values))
        return jobs

    def readout_jobs(self, program: Program) -> list[Job]:
        """The job that measures readout errors, if the plan asks for it."""
        if not self.plan.readout:
            return []
        return [self.job(READOUT, *self._kept(READOUT, lambda: self.engine.readout(program)))]

    def independent(self, work: Work) -> list[Job]:
        """Every job that depends on no other one: clean images, images of attacks on the ideal
        simulator, readout errors."""
        jobs = self.jobs(CLEAN, work.model, work.x)
        readout = self.readout_jobs(jobs[0].program)
        for images in work.attacked:
            jobs += self.jobs(images.name, work.model, images.x)
        return [*readout, *jobs]

    def frequencies(self, jobs: Sequence[Job]) -> Frequencies:
        """Relative frequencies (n, outcomes) of jobs that are collected, as `counts`."""
        return self.counts(jobs) / jobs[0].shots

    def counts(self, jobs: Sequence[Job]) -> Counts:
        """Counts (n, outcomes) of jobs that are collected.

        Raises:
            StoreError: The counts of one are gone.
        """
        found = []
        for job in jobs:
            counts = self.submitter.counts(job)
            if counts is None:
                raise StoreError(f"the counts of {job.name} are gone from {self.folder}: resume")
            found.append(counts)
        return np.concatenate(found)

    def readout(self, program: Program) -> Readout | None:
        """Readout errors as measured, if the plan asks for them."""
        jobs = self.readout_jobs(program)
        return Readout.measured(self.frequencies(jobs)) if jobs else None

    def job(self, name: str, program: Program, values: Frequencies) -> Job:
        """One job of the run; the noise of a simulated device depends on what it measures alone."""
        asked = self.context.task.identity
        about = {
            "data": asked.data.model_dump(),
            "model": asked.model.model_dump(),
            "engine": self.engine.name,
            "shots": self.plan.shots,
            "options": self.options,
            "name": name,
        }
        seed = int(canonical_sha256(about)[:15], 16) % (2**31 - 2) + 1  # 0 would be no seed
        return Job(name, program, values, self.plan.shots, seed, self.options)

    def identity(self, task: AttackTask, *, on_device: bool, readout: bool) -> ids.AttackId:
        """What is measured where images of an attack are evaluated on the device."""
        engine = ids.Engine(
            name=self.engine.name,
            shots=self.plan.shots,
            attacked="engine" if on_device else "ideal",
            mitigation={**self.options, **({"readout": True} if readout else {})},
        )
        asked = {name: getattr(task.identity, name) for name in ids.AttackId.model_fields}
        return ids.AttackId(**asked | {"engine": engine})

    def _artifact(self, record: Record) -> bytes:
        content = self.store.artifact(record)
        if content is None:
            raise StoreError(
                f"{self.store.path} is damaged: remove it; the same images are made again, and "
                "what devices counted lies elsewhere"
            )
        return content

    def _kept(
        self, name: str, make: Callable[[], tuple[Program, Frequencies]]
    ) -> tuple[Program, Frequencies]:
        """A circuit from the run's folder: compiled again, it would be another one."""
        path = self.folder / f"{name}.json"
        on_file = os.path.lexists(path)
        if name not in self._programs:
            self._programs[name] = self._read(path) if on_file else make()
        program, values = self._programs[name]
        if not on_file and hasattr(self, "submitter"):
            kept = _Kept(
                content=base64.b64encode(program.content).decode(),
                sha256=program.sha256,
                outcomes=program.outcomes,
                about=dict(program.about),
                values=values.tolist(),
            )
            write_atomically(path, kept.model_dump_json(indent=1).encode() + b"\n")
        return program, values

    def _read(self, path: Path) -> tuple[Program, Frequencies]:
        try:
            kept = _Kept.model_validate_json(read_file(path))
            content = base64.b64decode(kept.content, validate=True)
            if hashlib.sha256(content).hexdigest() != kept.sha256:
                raise ValueError("the circuit was changed")
            values = np.array(kept.values, np.float64)
        except ValueError as error:
            raise StoreError(
                f"{path} is damaged ({first_error(error)}): restore it; another circuit would be "
                "another measurement"
            ) from error
        return Program(content, kept.outcomes, kept.about), values


def check_account(plan: HardwarePlan, ledger: Ledger, engine: JobEngine) -> None:
    """Refuse to go on with a run under another account or instance than pays for it.

    There its jobs are not listed, and would be handed in and paid for again.

    Raises:
        UsageError: It is another one.
    """
    known = {plan.account, *(entry.account for entry in ledger.entries.values())} - {None}
    now = engine.account if known else None
    if known - {now}:
        (before, *_) = sorted(filter(None, known - {now}))
        raise UsageError(
            f"the run's jobs were handed in under {before!r}, and this account uses {now!r}, which "
            "knows nothing of them and would pay again: choose that one ('qbench hardware' takes "
            "the account that docs/hardware.md says), or begin another run in another --out folder"
        )


def job_name(task: AttackTask, where: str = "") -> str:
    """What the jobs of an attack's images are called."""
    return f"{where}{task.label}({task.identity.eps})"


def require_done(record: Record) -> None:
    """Refuse a record that says that it was skipped or failed.

    Raises:
        VerificationError: It does.
    """
    if record.status != "done":
        raise VerificationError(f"the {record.title} is {record.status}: {record.reason}")
