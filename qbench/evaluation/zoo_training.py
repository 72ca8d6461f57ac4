"""Trains models into a zoo folder; interrupted at any moment, the next call goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from qbench.datasets.base import load_data
from qbench.datasets.fitting import fitted
from qbench.errors import VerificationError
from qbench.evaluation.executors import Executor
from qbench.evaluation.isolation import TimeoutExceededError, isolated, time_limit
from qbench.evaluation.training import train_provided
from qbench.files import write_atomically
from qbench.plugin_files import PluginFile
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.specs import ModelSpec
from qbench.weights.files import Provenance, TrainingState, pack, unpack
from qbench.weights.given import GivenWeights
from qbench.weights.zoo import Zoo, file_name


@dataclass(frozen=True)
class TrainingJob:
    """One model and seed to train into a folder.

    Args:
        model, seed, dataset: What to train on what.
        root: The folder.
        plugins: Plugins given as files.
        given: Weights that were handed in: they are copied there instead.
        time_limit_s: How long the training may take.
    """

    model: str
    seed: int
    dataset: str
    root: Path
    plugins: tuple[PluginFile, ...] = ()
    given: GivenWeights | None = None
    time_limit_s: float = math.inf

    @property
    def provided(self) -> Provided[ModelSpec]:
        """The model, made for the data set."""
        found = load_registry(self.plugins).get("model", self.model)
        return fitted(found, load_data(self.dataset, self.plugins))

    def provenance(self) -> Provenance:
        """What the weights will say they come from."""
        spec = self.provided.spec
        return Provenance(
            model=self.model,
            revision=spec.revision,
            seed=self.seed,
            dataset=self.dataset,
            dataset_sha256=load_data(self.dataset, self.plugins).sha256,
            recipe=spec.recipe,
        )


def train_zoo(
    jobs: Sequence[TrainingJob],
    executor: Executor,
    *,
    on_epoch: Callable[[TrainingJob, TrainingState], None] | None,
    on_done: Callable[[TrainingJob, TrainingState], None],
) -> None:
    """Train every job that its zoo does not hold yet.

    Args:
        jobs: What to train.
        executor: Where; with local processes `on_epoch` must be None.
        on_epoch: Called after each epoch.
        on_done: Called after each training, also for those the zoo already holds.
    """
    running: dict[Future[bytes], TrainingJob] = {}
    for job in jobs:
        zoo = Zoo(job.root)
        if job.given is not None:
            zoo.add(job.model, job.seed, job.given.content)
            on_done(job, unpack(job.given.content, job.given.file)[0])
            continue
        if zoo.sha256(job.model, job.seed) is not None:
            state, found = unpack(zoo.read(job.model, job.seed), file_name(job.model, job.seed))
            if found == job.provenance():
                on_done(job, state)
                continue
        running[executor.submit(train_one, job, on_epoch)] = job
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job, content = running.pop(future), future.result()
            Zoo(job.root).add(job.model, job.seed, content)
            _state_path(job).unlink(missing_ok=True)
            on_done(job, unpack(content, file_name(job.model, job.seed))[0])


def train_one(
    job: TrainingJob, on_epoch: Callable[[TrainingJob, TrainingState], None] | None = None
) -> bytes:
    """Train one model, going on from the state an interrupted training left; the packed weights."""
    provenance, path = job.provenance(), _state_path(job)
    dataset, provided = load_data(job.dataset, job.plugins), job.provided
    state = None
    if path.exists():
        state, found = unpack(path.read_bytes(), str(path))
        state = state if found == provenance else None

    def keep(state: TrainingState) -> None:
        write_atomically(path, pack(state, provenance, resumable=True))
        if on_epoch is not None:
            on_epoch(job, state)

    try:
        with isolated(job.seed), time_limit(job.time_limit_s):
            _, state = train_provided(provided, dataset, job.seed, state=state, after_epoch=keep)
    except (VerificationError, TimeoutExceededError) as error:
        raise VerificationError(f"{job.model} seed {job.seed}: {error}") from error
    return pack(state, provenance)


def _state_path(job: TrainingJob) -> Path:
    return job.root / "unfinished" / file_name(job.model, job.seed)
