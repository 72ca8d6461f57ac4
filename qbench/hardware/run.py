"""A hardware run: crafted on the exact twin, evaluated on the device, job by job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.datasets.base import Split
from qbench.errors import UsageError, VerificationError
from qbench.executors import InProcess
from qbench.files import write_atomically
from qbench.graph import run_graph
from qbench.hardware.circuits import Batch, circuits_of
from qbench.hardware.desk import Desk
from qbench.hardware.interface import Job, Program
from qbench.hardware.ledger import Ledger
from qbench.hardware.noise import Readout
from qbench.hardware.plan import HardwarePlan
from qbench.records import Record
from qbench.registry import load_registry
from qbench.stages import Workplace
from qbench.store import Store, from_npz
from qbench.tasks import Task

READOUT = "readout"
CLEAN = "clean"
Said = Callable[[str], None]
Compiled = tuple[Program, NDArray[np.float64]]


@dataclass(frozen=True)
class Images:
    """Images to evaluate on the device.

    Args:
        name: `clean`, or the attack as it is shown with its budget.
        x: (n, features).
        record: Of the attack on the exact twin; None for clean images.
    """

    name: str
    x: Tensor
    record: Record | None = None


@dataclass(frozen=True)
class Work:
    """What a run evaluates.

    Args:
        model: The trained model on its exact engine.
        split: The clean images and their labels.
        images: Clean images first, then those of each attack on the twin.
        trained: Record of the training.
    """

    model: nn.Module
    split: Split
    images: tuple[Images, ...]
    trained: Record


class HardwareRun:
    """The jobs of a plan, in a folder.

    The folder is a `Store`; `hardware/` in it holds the plan, the ledger, the compiled circuit, and
    the counts of every job.

    Args:
        plan: What to do.
        root: The folder.

    Raises:
        UsageError: The engine takes no jobs, or the model runs no circuits.
        UnknownNameError: A name that nobody provides.
    """

    def __init__(self, plan: HardwarePlan, root: Path) -> None:
        self.plan, self.root = plan, root
        self.files = plan.files()
        self.registry = load_registry(self.files)
        self.tasks: list[Task] = plan.tasks()
        self.place = Workplace(self.tasks[-1])  # an attack: the training sees all images
        if self.place.spec().spec.family != "quantum":
            raise UsageError(f"{plan.model} runs no circuits: only quantum models run on devices")
        self.engine = plan.connect(self.registry)
        self.options = self.engine.mitigation(plan.options)
        self.store = Store(root)
        self.folder = root / "hardware"
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.desk = Desk(self.engine, self.ledger, self.folder / "counts", plan.run_id, root)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hold the folder, and make the plan part of it.

        Raises:
            UsageError: The folder holds another run.
            StoreError: Somebody else holds it.
        """
        with self.store.locked():
            if not (self.folder / "run.json").exists():
                self.plan.save(self.root)
            elif HardwarePlan.load(self.root) != self.plan:
                raise UsageError(
                    f"{self.root} holds another run: 'qbench hardware resume {self.root}' goes on "
                    "with that one; choose another --out for this one"
                )
            try:
                yield
            finally:
                self.engine.close()

    def compiled(self, batch: Batch) -> Program:
        """The circuit for the device, compiled once and kept with the run."""
        none = np.empty((0, 0))
        program, _ = self._kept(
            "circuit", lambda: (self.engine.compile(batch.circuit, batch.state is not None), none)
        )
        return program

    def prepare(self, on_done: Callable[[Task, Record], None] = lambda *_: None) -> Work:
        """Train or read the model, and craft on its exact twin; done once a folder.

        Raises:
            VerificationError: An attack failed.
        """
        records = run_graph(self.tasks, self.store, InProcess(), width=1, on_done=on_done)
        for record in records:
            if record.status != "done":
                raise VerificationError(
                    f"{record.task} of {self.plan.model} is {record.status}: {record.reason}"
                )
        trained, *attacked = records
        images = [Images(CLEAN, self.place.split.x)]
        for record in attacked:
            assert record.artifact is not None
            x_adv = from_npz(self.store.read(record, record.artifact))["x_adv"]
            images.append(Images(_title(record), torch.from_numpy(x_adv), record))
        model = self.place.twin(self.store.outcome(trained))
        return Work(model, self.place.split, tuple(images), trained)

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

    def transferred(self, work: Work) -> list[Job]:
        """Every job that depends on no other one: clean images, twin attacks, readout errors."""
        jobs = [
            job for images in work.images for job in self.jobs(images.name, work.model, images.x)
        ]
        return [*self.readout_jobs(jobs[0].program), *jobs]

    def submit(self, jobs: list[Job], said: Said, *, retry_failed: bool = False) -> None:
        """Hand in what was not, one after another."""
        for job in jobs:
            before = self.desk.entry(job)
            entry = self.desk.submit(job, retry_failed=retry_failed)
            if before is None or before.job_id != entry.job_id:
                said(f"{job.name}: {job.circuits} circuits, {entry.job_id or 'run locally'}")

    def frequencies(self, jobs: list[Job]) -> NDArray[np.float64] | None:
        """Relative frequencies (n, outcomes) of jobs, or None where some are missing."""
        counts = [self.desk.counts(job) for job in jobs]
        if any(found is None for found in counts):
            return None
        return np.concatenate([found / self.plan.shots for found in counts if found is not None])

    def readout(self, program: Program) -> Readout | None:
        """Readout errors as measured, if the plan asks for them."""
        for job in self.readout_jobs(program):
            counts = self.desk.counts(job)
            if counts is not None:
                return Readout.measured(counts)
        return None

    def job(self, name: str, program: Program, values: NDArray[np.float64]) -> Job:
        """One job of the run."""
        seed = self.plan.derived_seed(name)
        return Job(name, program, values, self.plan.shots, seed, self.options)

    def _kept(self, name: str, make: Callable[[], Compiled]) -> Compiled:
        """A circuit from the run's folder: compiled again, it would be another one."""
        about, content = self.folder / f"{name}.json", self.folder / f"{name}.qpy"
        if about.exists():
            kept = json.loads(about.read_bytes())
            program = Program(content.read_bytes(), kept["outcomes"], kept["about"])
            return program, np.array(kept["values"])
        program, values = make()
        if (self.folder / "run.json").exists():
            told = {
                "outcomes": program.outcomes,
                "about": dict(program.about),
                "values": values.tolist(),
            }
            write_atomically(content, program.content)
            write_atomically(about, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode())
        return program, values


def _title(record: Record) -> str:
    assert record.attack is not None
    assert record.threat_model is not None
    return f"{record.attack.label}({record.threat_model.eps:g})"
