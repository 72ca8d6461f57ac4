"""Checkpoints along trainings: the weights after 1, 2, 5, ... epochs, and whether they are ours.

A training is the one that the zoo's weights come from, of more epochs: its seeds and its order of
images do not depend on how many there are. So its checkpoints are weights of the zoo, where the zoo
has a model of as many epochs; `agreement` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from qbench.datasets.base import load_data
from qbench.datasets.fitting import fitted
from qbench.errors import UsageError, WeightsError
from qbench.evaluation.isolation import isolated
from qbench.evaluation.parallel import Advance, each
from qbench.evaluation.training import train
from qbench.files import read_file, write_atomically
from qbench.provided import Provided
from qbench.registry import load_registry
from qbench.report.text import escape, listed, table
from qbench.specs import ModelSpec
from qbench.weights.files import Provenance, TrainingState, fingerprint, load_into, pack, unpack
from qbench.weights.zoo import Zoo, file_name

DATASET = "glyphs"
MODELS = ("reup", "reup-0.1", "reup-0.2", "amplitude", "convnet", "fourier")
EPOCHS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Training:
    """One training, with the checkpoints that it leaves in a folder.

    Args:
        folder: Where they are.
        model: A model of the registry, trained by its recipe but for the number of epochs.
        seed: Of the training.
        epochs: After which a checkpoint is kept, ascending.
    """

    folder: Path
    model: str
    seed: int
    epochs: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.epochs or list(self.epochs) != sorted(set(self.epochs)) or self.epochs[0] < 1:
            raise UsageError(f"epochs are {self.epochs}: give numbers from 1 in ascending order")

    def path(self, epoch: int) -> Path:
        """The checkpoint after an epoch."""
        return self.folder / f"{self.model}-seed{self.seed}-epoch{epoch}.safetensors"

    def provided(self) -> Provided[ModelSpec]:
        """The model, made for the data set."""
        return fitted(load_registry().get("model", self.model), load_data(DATASET))

    def provenance(self, epoch: int) -> Provenance:
        """What the checkpoint after an epoch comes from: a training of as many epochs."""
        spec = self.provided().spec
        return Provenance(
            model=self.model,
            revision=spec.revision,
            seed=self.seed,
            dataset=DATASET,
            dataset_sha256=load_data(DATASET).sha256,
            recipe=replace(spec.recipe, epochs=epoch),
        )

    def state(self, epoch: int) -> TrainingState | None:
        """The checkpoint after an epoch; None where there is none, or one of another training.

        Raises:
            WeightsError: The file is damaged.
            StoreError: It cannot be read.
        """
        path = self.path(epoch)
        if not path.exists():
            return None
        state, found = unpack(read_file(path), str(path))
        return state if found == self.provenance(epoch) and state.epoch == epoch else None

    def last(self) -> TrainingState | None:
        """The last checkpoint that is there with every one before it."""
        found = None
        for epoch in self.epochs:
            state = self.state(epoch)
            if state is None:
                return found
            found = state
        return found

    def load(self, epoch: int) -> nn.Module:
        """The model as it is after an epoch, in evaluation mode.

        Raises:
            WeightsError: There is no such checkpoint.
        """
        state = self.state(epoch)
        if state is None:
            raise WeightsError(f"no checkpoint {self.path(epoch)} of this training: train first")
        with isolated(self.seed):
            made: nn.Module = self.provided().create()
        load_into(made, state.weights, str(self.path(epoch)))
        return made.eval()


@dataclass(frozen=True)
class Trajectories:
    """Finished trainings: `training(model, seed)` has the checkpoints.

    Args:
        folder: Of the checkpoints.
        models, seeds, epochs: Which there are.
    """

    folder: Path
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]

    def training(self, model: str, seed: int) -> Training:
        """One of them."""
        return Training(self.folder, model, seed, self.epochs)


@dataclass(frozen=True)
class Agreement:
    """A checkpoint beside the weights of the zoo that it should be.

    Args:
        model, seed, epoch: Of the checkpoint.
        zoo: Name of the zoo's model.
        equal: Whether both have one fingerprint: every bit is the same.
        largest: The largest difference of a weight.
    """

    model: str
    seed: int
    epoch: int
    zoo: str
    equal: bool
    largest: float


def steps(
    seeds: Sequence[int], models: Sequence[str] = MODELS, epochs: Sequence[int] = EPOCHS
) -> int:
    """Epochs of all trainings, for a progress bar."""
    return len(seeds) * len(models) * max(epochs)


def run(
    folder: Path,
    *,
    seeds: Sequence[int],
    jobs: int,
    advance: Advance,
    models: Sequence[str] = MODELS,
    epochs: Sequence[int] = EPOCHS,
) -> Trajectories:
    """Train what the folder does not hold yet; killed at any moment, the next call goes on.

    Args:
        folder: Of the checkpoints, resumable safetensors of 20 to 100 kB.
        seeds: Of the trainings.
        jobs: Processes.
        advance: Told of every training when it is finished.
        models: Names in the registry.
        epochs: After which a checkpoint is kept, ascending; the last one ends the training.

    Raises:
        UsageError: The epochs are none.
        WeightsError: A checkpoint is damaged.
        VerificationError: A training diverges.
        StoreError: The folder cannot be written, or a process dies.
    """
    found = Trajectories(folder, tuple(models), tuple(seeds), tuple(epochs))
    work = [found.training(model, seed) for model in models for seed in seeds]
    finished = [one for one in work if _done(one)]
    for one in finished:
        advance(one.epochs[-1], f"{one.model} seed {one.seed}: trained already")
    for one, accuracy in each(finish, [one for one in work if one not in finished], jobs):
        label = f"{one.model} seed {one.seed}: trained, test accuracy {accuracy:.3f}"
        advance(one.epochs[-1], label)
    return found


def _done(one: Training) -> bool:
    last = one.last()
    return last is not None and last.epoch == one.epochs[-1]


def finish(one: Training) -> float:
    """Train from the last checkpoint to the end; the test accuracy then."""
    provided = one.provided()

    def keep(state: TrainingState) -> None:
        if state.epoch in one.epochs:
            content = pack(state, one.provenance(state.epoch), resumable=True)
            write_atomically(one.path(state.epoch), content)

    recipe = replace(provided.spec.recipe, epochs=one.epochs[-1])
    with isolated(one.seed):
        _, state = train(
            provided.create,
            load_data(DATASET),
            recipe,
            one.seed,
            state=one.last(),
            after_epoch=keep,
        )
    return state.test_accuracy[-1]


def agreement(found: Trajectories, zoo: Zoo | None = None) -> list[Agreement]:
    """Every checkpoint of which a zoo has the weights, beside them.

    The zoo's model is the one of the same factory and parameters whose recipe differs in nothing
    but has as many epochs as the checkpoint.

    Args:
        found: Finished trainings.
        zoo: By default the one that ships with qbench.

    Raises:
        WeightsError: A file of either is missing or damaged.
    """
    zoo, compared = zoo or Zoo(), []
    for model in found.models:
        for epoch in found.epochs:
            name = _published(model, epoch)
            for seed in found.seeds if name is not None else ():
                if name is None or zoo.sha256(name, seed) is None:
                    continue
                ours = found.training(model, seed).state(epoch)
                if ours is None:
                    raise WeightsError(f"no checkpoint of {model} seed {seed} at epoch {epoch}")
                theirs, _ = unpack(zoo.read(name, seed), file_name(name, seed))
                compared.append(_compare(model, seed, epoch, name, ours, theirs))
    return compared


def _published(model: str, epoch: int) -> str | None:
    models = load_registry().all("model")
    ours = models[model].spec
    wanted = ours.factory, dict(ours.params), replace(ours.recipe, epochs=epoch)
    for name, provided in models.items():
        spec = provided.spec
        if (spec.factory, dict(spec.params), spec.recipe) == wanted and spec.train is None:
            return name
    return None


def _compare(
    model: str, seed: int, epoch: int, zoo: str, ours: TrainingState, theirs: TrainingState
) -> Agreement:
    largest = max(
        float((ours.weights[name] - theirs.weights[name]).abs().max()) for name in ours.weights
    )
    equal = fingerprint(ours.weights) == fingerprint(theirs.weights)
    return Agreement(model, seed, epoch, zoo, equal, largest)


def section_trajectories(found: Trajectories) -> str:
    """Markdown: what was trained, how accurate it is along the way, and whether it is the zoo's."""
    compared = agreement(found)
    same = sum(one.equal for one in compared)
    rows = []
    for model in found.models:
        states = [found.training(model, seed).state(found.epochs[-1]) for seed in found.seeds]
        curves = [state.test_accuracy for state in states if state is not None]
        cells = [sum(curve[e - 1] for curve in curves) / len(curves) for e in found.epochs]
        of = [one for one in compared if one.model == model]
        largest = max((one.largest for one in of), default=0.0)
        which = ", ".join(str(epoch) for epoch in sorted({one.epoch for one in of}))
        says = f"{sum(one.equal for one in of)} of {len(of)} equal (epoch {which})" if of else "—"
        if of and largest:
            says += f", largest difference {largest:.1e}"
        rows.append([escape(model), *(f"{cell:.3f}" for cell in cells), says])
    head = ["model", *(f"epoch {epoch}" for epoch in found.epochs), "weights beside the zoo's"]
    return "\n\n".join(
        [
            f"Every model is trained anew, for {found.epochs[-1]} epochs with the seeds "
            f"{listed(found.seeds)}, and its weights are kept after the epochs of the table. The "
            "table has the accuracy on the clean test images, the mean over seeds. The zoo, which "
            "ships trained weights, has models of some of these epochs: redone training gives "
            + (
                "exactly these weights, bit by bit."
                if same == len(compared)
                else f"exactly these weights in {same} of {len(compared)} comparisons, and in the "
                f"others a weight differs by at most {max(o.largest for o in compared):.1e}: "
                "another machine may round sums in another way."
            ),
            table(head, rows, ["left", *["right"] * len(found.epochs), "left"]),
        ]
    )
