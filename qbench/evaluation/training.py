"""Training: a recipe and a seed give the same weights every time, interrupted or not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qbench.datasets.base import Dataset
from qbench.errors import VerificationError
from qbench.evaluation.provenance import parameters_of
from qbench.evaluation.scoring import predict
from qbench.evaluation.task import Found, Inputs, Task, TaskContext
from qbench.geometry import ascent_direction, project, random_start
from qbench.records.identity import TrainingId
from qbench.records.record import TrainingMetrics
from qbench.specs import Recipe, ThreatModel
from qbench.weights.files import Provenance, TrainingState, fingerprint, load_into, pack, unpack
from qbench.weights.zoo import Zoo


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Task):
    """Train a model, or take its weights from the zoo that ships with qbench. Needs nothing.

    Args:
        zoo: Fingerprint of the zoo's weights; None to train.
        initial: Fingerprint of the untrained model, which may hold data of its own; None for
            weights of the zoo.
    """

    identity: TrainingId
    zoo: str | None = None
    initial: str | None = None
    leaves_artifact: ClassVar[bool] = True

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Train or read."""
        provided, asked = context.provided, self.identity.model
        if self.zoo is not None:
            content = Zoo().read(asked.name, asked.seed)
            state, _ = unpack(content, f"the zoo's {asked.name}")
            model: nn.Module = provided.create()
            load_into(model, state.weights, asked.name)
        else:
            recipe = provided.spec.recipe
            model, state = train(provided.create, context.dataset, recipe, asked.seed)
            content = pack(
                state,
                Provenance(
                    model=asked.name,
                    revision=asked.revision,
                    seed=asked.seed,
                    dataset=context.dataset.name,
                    dataset_sha256=context.dataset.sha256,
                    recipe=recipe,
                ),
            )
        return Found(
            metrics=TrainingMetrics(
                loss=state.loss,
                test_accuracy=state.test_accuracy,
                weights_from="training" if self.zoo is None else "zoo",
                initial=self.initial,
            ),
            weights=fingerprint(state.weights),
            artifact=content,
            parameters=parameters_of(model),
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """Every training image in every epoch, attacked or not."""
        if self.zoo is not None:
            return 0, 0
        recipe = context.provided.spec.recipe
        images = len(context.dataset.train.y) * recipe.epochs
        if recipe.adversarial_eps:
            images *= 1 + recipe.adversarial_steps
        return images, images


def train(
    build: Callable[[], nn.Module],
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    *,
    state: TrainingState | None = None,
    after_epoch: Callable[[TrainingState], None] | None = None,
) -> tuple[nn.Module, TrainingState]:
    """Train a model.

    Initial parameters come from `torch.manual_seed(seed)`; the order of the images in an epoch is
    a function of seed and epoch alone, so that a training continued from its state ends with the
    same weights.

    Args:
        build: Makes the untrained model.
        dataset: Trains on its train split; test accuracy is recorded after every epoch.
        recipe: Epochs, step size, batch size and λ.
        seed: Of initial parameters and order.
        state: Where to go on from.
        after_epoch: Called with the state after every epoch.

    Raises:
        VerificationError: The loss stops being finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    state = state or TrainingState(weights=_copied(model))
    if state.epoch:
        _restore(model, optimizer, state)
    for epoch in range(state.epoch, recipe.epochs):
        loss = _one_epoch(model, optimizer, dataset.train.x, dataset.train.y, recipe, seed, epoch)
        correct = predict(model, dataset.test.x).argmax(1) == dataset.test.y
        state = TrainingState(
            epoch=epoch + 1,
            weights=_copied(model),
            moments=_moments(model, optimizer),
            loss=[*state.loss, loss],
            test_accuracy=[*state.test_accuracy, int(correct.sum()) / len(correct)],
        )
        if after_epoch is not None:
            after_epoch(state)
    return model, state


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Adam,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    seed: int,
    epoch: int,
) -> float:
    model.train()
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    order = torch.randperm(len(x), generator=generator)
    total = 0.0
    for batch in torch.split(order, recipe.batch_size):
        inputs = x[batch]
        if recipe.adversarial_eps:
            inputs = _perturbed(model, inputs, y[batch], recipe, generator)
        loss = cross_entropy(model(inputs), y[batch])
        total += loss.item() * len(batch)
        if recipe.regularisation:
            loss = loss + recipe.regularisation * model.regularisation()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    mean = total / len(x)
    if not math.isfinite(mean):
        raise VerificationError(f"training diverged: the loss is {mean} in epoch {epoch + 1}")
    return mean


def _perturbed(
    model: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """The inner maximisation of adversarial training: PGD from a random start, last step kept."""
    threat = ThreatModel(norm="linf", eps=recipe.adversarial_eps)
    step = 2.5 * recipe.adversarial_eps / recipe.adversarial_steps
    x_adv = random_start(x, threat, generator)
    for _ in range(recipe.adversarial_steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(x_adv), y), x_adv)
        x_adv = project(x_adv.detach() + step * ascent_direction(gradient, "linf"), x, threat)
    return x_adv


def _moments(model: nn.Module, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            moments[f"{name}/{key}"] = value.detach().clone()
    return moments


def _restore(model: nn.Module, optimizer: torch.optim.Adam, state: TrainingState) -> None:
    model.load_state_dict(state.weights)
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key.rpartition("/")[2]: value.clone()
            for key, value in state.moments.items()
            if key.rpartition("/")[0] == name
        }
