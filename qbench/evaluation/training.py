"""Training: a recipe and a seed give the same weights every time, interrupted or not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset, Split
from qbench.errors import PluginError, VerificationError
from qbench.evaluation.isolation import TimeoutExceededError, isolated
from qbench.evaluation.losses import gradient_penalty, training_loss
from qbench.evaluation.provenance import card_of, parameters_of
from qbench.evaluation.scoring import predict
from qbench.evaluation.task import Found, Inputs, Task, TaskContext
from qbench.provided import Provided
from qbench.records.identity import TrainingId
from qbench.records.record import TrainingMetrics
from qbench.specs import ModelSpec, Optimizer, Recipe, imported
from qbench.weights.files import Provenance, TrainingState, fingerprint, load_into, pack, unpack
from qbench.weights.given import GivenWeights
from qbench.weights.zoo import Zoo

_OPTIMIZERS: dict[Optimizer, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
_SEEDS = 2**40  # where those of a model's own draws begin, beyond those of orders


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Task):
    """Train a model, or take its weights from a file or the zoo that ships with qbench.

    Needs nothing.

    Args:
        zoo: Fingerprint of the zoo's weights; None where they come from elsewhere.
        given: Weights that were handed in; None where they come from elsewhere.
        initial: Fingerprint of the untrained model, which may hold data of its own; None for
            weights that are there.
    """

    identity: TrainingId
    zoo: str | None = None
    given: GivenWeights | None = None
    initial: str | None = None
    leaves_artifact: ClassVar[bool] = True

    @property
    def known(self) -> str | None:
        """Fingerprint of weights that need no training; None where there are none."""
        return self.zoo if self.given is None else self.given.sha256

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Train or read."""
        provided, asked = context.provided, self.identity.model
        if self.given is not None:
            content = self.given.content
            provided = replace(provided, spec=self.given.spec(provided.spec))
        elif self.zoo is not None:
            content = Zoo.shipped(context.dataset.name).read(asked.name, asked.seed)
        else:
            _, state = train_provided(provided, context.dataset, asked.seed)
            about = Provenance(
                model=asked.name,
                revision=asked.revision,
                seed=asked.seed,
                dataset=context.dataset.name,
                dataset_sha256=context.dataset.sha256,
                recipe=provided.spec.recipe,
            )
            content = pack(state, about)
        state, _ = unpack(content, f"weights of {asked.name}")
        model: nn.Module = provided.create()
        load_into(model, state.weights, asked.name)
        return Found(
            metrics=TrainingMetrics(
                loss=state.loss,
                test_accuracy=state.test_accuracy,
                weights_from="file" if self.given else "zoo" if self.zoo else "training",
                file=self.given.file if self.given else None,
                initial=self.initial,
            ),
            weights=fingerprint(state.weights),
            artifact=content,
            card=card_of(provided, parameters_of(model)),
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """Every training image in every epoch, attacked or not."""
        if self.known is not None:
            return 0, 0
        recipe = card_of(context.provided, None).recipe
        images = len(context.dataset.train.y) * recipe.epochs * recipe.gradients
        return images, images


def train_provided(
    provided: Provided[ModelSpec],
    dataset: Dataset,
    seed: int,
    *,
    state: TrainingState | None = None,
    after_epoch: Callable[[TrainingState], None] | None = None,
) -> tuple[nn.Module, TrainingState]:
    """Train a model as its spec says: by its own function, or by its recipe (see `train`).

    Raises:
        PluginError: Its own training does not import, fails, or returns something.
        VerificationError: The loss stops being finite, or its own training left other parameters
            than it found, or some that are not finite.
    """
    spec = provided.spec
    if spec.train is None:
        return train(
            provided.create, dataset, spec.recipe, seed, state=state, after_epoch=after_epoch
        )
    where = f"plugin {provided.plugin!r}: {spec.train}, which trains {spec.name!r},"
    with isolated(seed):
        model: nn.Module = provided.create()
        before = _copied(model)
        try:
            returned = imported(spec.train)(model, _own_copy(dataset), seed)
        except (VerificationError, TimeoutExceededError):
            raise
        except Exception as error:
            raise PluginError(f"{where} failed: {type(error).__name__}: {error}") from error
    if returned is not None:
        raise PluginError(
            f"{where} returned a {type(returned).__name__}: it must train the model in place and "
            "return nothing"
        )
    after = _copied(model)
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after or before[name].shape != after[name].shape:
            raise VerificationError(f"{where} changed which parameters there are: {name!r}")
        if not bool(after[name].isfinite().all()):
            raise VerificationError(f"{where} left {name!r} with values that are not finite")
    return model, TrainingState(weights=after)


def _own_copy(dataset: Dataset) -> Dataset:
    """A data set that a plugin may change."""
    train, test = (Split(s.x.clone(), s.y.clone()) for s in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test)


def train(
    build: Callable[[], nn.Module],
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    *,
    state: TrainingState | None = None,
    after_epoch: Callable[[TrainingState], None] | None = None,
) -> tuple[nn.Module, TrainingState]:
    """Train a model by a recipe; one without trainable parameters stays as it is made.

    Initial parameters come from `torch.manual_seed(seed)`; the order of the images in an epoch,
    and what a stochastic model draws from torch's generator in it, are functions of seed and epoch
    alone, so that a training continued from its state ends with the same weights.

    Args:
        build: Makes the untrained model.
        dataset: Trains on its train split; test accuracy is recorded after every epoch.
        recipe: Epochs, optimiser, step size, batch size, attack and penalties.
        seed: Of initial parameters and order.
        state: Where to go on from.
        after_epoch: Called with the state after every epoch.

    Raises:
        VerificationError: The loss stops being finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    state = state or TrainingState(weights=_copied(model))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters or not recipe.epochs:
        return model, state
    optimizer = _optimizer(parameters, recipe)
    if state.epoch:
        _restore(model, optimizer, state)
    for epoch in range(state.epoch, recipe.epochs):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEEDS + seed * 100_003 + epoch)  # of what the model itself draws
            loss = _one_epoch(model, optimizer, dataset.train, recipe, seed, epoch)
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


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer in ("sgd", "rmsprop"):
        settings["momentum"] = recipe.momentum
    return _OPTIMIZERS[recipe.optimizer](parameters, **settings)


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Split,
    recipe: Recipe,
    seed: int,
    epoch: int,
) -> float:
    model.train()
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    x, y = images.x, images.y
    order = torch.randperm(len(x), generator=generator)
    total = 0.0
    for batch in torch.split(order, recipe.batch_size):
        loss = training_loss(model, x[batch], y[batch], recipe, recipe.budget(epoch), generator)
        total += loss.item() * len(batch)
        if recipe.gradient_penalty:
            loss = loss + recipe.gradient_penalty * gradient_penalty(model, x[batch], y[batch])
        if recipe.regularisation:
            loss = loss + recipe.regularisation * model.regularisation()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    mean = total / len(x)
    if not math.isfinite(mean):
        raise VerificationError(f"training diverged: the loss is {mean} in epoch {epoch + 1}")
    return mean


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            if value is not None:  # of an optimiser without momentum
                moments[f"{name}/{key}"] = value.detach().clone()
    return moments


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    model.load_state_dict(state.weights)
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key.rpartition("/")[2]: value.clone()
            for key, value in state.moments.items()
            if key.rpartition("/")[0] == name
        }
