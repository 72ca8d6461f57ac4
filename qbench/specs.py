"""What plugins hand in: frozen descriptions with a lazy factory, so that listing is cheap."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Norm = Literal["linf", "l2"]
Family = Literal["quantum", "classical"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Fact = Literal["features", "classes", "image_shape"]  # of a data set
# What a recipe need not say; weights and cards from before there were these fields lack them too.
UNSTATED: Mapping[str, Any] = {
    "optimizer": "adam",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "adversarial_warmup": 0,
    "trades": 0.0,
    "gradient_penalty": 0.0,
}
COMMAND_GROUPS = ("leaderboard",)  # groups of the core that plugins may add commands to


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every plugin object declares.

    Args:
        name: Name in lists, options and records: lower-case letters, digits, `-` and `.`.
        description: One line.
        factory: `"module:callable"`, imported when the object is first needed.
        params: Keyword arguments of the factory.
        revision: Raised by the author whenever results change: what has one name and one revision
            gives the same results, whatever the version of the package.
    """

    name: str
    description: str
    factory: str
    params: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1

    def resolve(self) -> Callable[..., Any]:
        """Import the factory. Any error of the import passes through."""
        return imported(self.factory)


def imported(name: str) -> Callable[..., Any]:
    """What `"module:callable"` names. Any error of the import passes through."""
    module, _, attribute = name.partition(":")
    target: Any = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
    if not callable(target):
        raise TypeError(f"{name} is not callable")
    return target  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained: on cross-entropy, of clean or of attacked images, and on penalties.

    Args:
        epochs: Passes over the training images; 0 leaves the model as its factory makes it.
        learning_rate: The optimiser's step size.
        batch_size: Images a step.
        regularisation: λ, the weight of the model's own `regularisation()` in the loss.
        adversarial_eps: Train on images perturbed by PGD within this ℓ∞ budget (Madry et al.
            2018) instead of clean ones; 0 trains on clean images.
        adversarial_steps: Steps of that PGD, each of 2.5 · adversarial_eps / adversarial_steps.
        adversarial_warmup: Epochs over which the budget grows, by equal amounts, to
            adversarial_eps; 0 trains with all of it from the first epoch.
        trades: β of TRADES (Zhang et al. 2019, arXiv:1901.08573, Eq. 5): cross-entropy of the clean
            images, plus β times how far the attacked ones move the distribution over classes. 0
            trains on the attacked images themselves.
        gradient_penalty: Weight of the mean of ‖∂ cross-entropy / ∂x‖₂² over the clean images
            (Ross and Doshi-Velez 2018, arXiv:1711.09404).
        optimizer: `"adam"`, `"adamw"`, `"sgd"` or `"rmsprop"`, of `torch.optim` and with its
            settings but for those here.
        momentum: Of `"sgd"` and `"rmsprop"`.
        weight_decay: Of any of them.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    batch_size: int = 50
    regularisation: float = 0.0
    adversarial_eps: float = 0.0
    adversarial_steps: int = 7
    adversarial_warmup: int = 0
    trades: float = 0.0
    gradient_penalty: float = 0.0
    optimizer: Optimizer = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.momentum and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(f"{self.optimizer} takes no momentum: leave it out, or use sgd")
        for name in ("adversarial_warmup", "trades"):
            if getattr(self, name) and not self.adversarial_eps:
                raise ValueError(f"{name} attacks the training images: give adversarial_eps too")
        for name, least in (
            ("epochs", 0),
            ("batch_size", 1),
            ("adversarial_steps", 1),
            ("adversarial_warmup", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise ValueError(f"{name} is {value}: give at least {least}")
        for name in (
            "learning_rate",
            "regularisation",
            "adversarial_eps",
            "trades",
            "gradient_penalty",
            "momentum",
            "weight_decay",
        ):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}: give a number of at least 0")

    def budget(self, epoch: int) -> float:
        """ε of the training's attack in an epoch, counted from 0."""
        grown = (epoch + 1) / self.adversarial_warmup if self.adversarial_warmup else 1.0
        return self.adversarial_eps * min(1.0, grown)

    def stated(self) -> dict[str, Any]:
        """The fields as they are written down: those of `UNSTATED` only where they differ from it.

        Weights and cards of models that are trained without them read as they did before.
        """
        return {name: value for name, value in asdict(self).items() if UNSTATED.get(name) != value}


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A trainable classifier; the factory returns a `torch.nn.Module` (see `interfaces.Model`).

    Args:
        family: `"quantum"` or `"classical"`.
        structure: What the model is made of, e.g. `"reupload-circuit"`: certifiers name the
            structures that they cover.
        recipe: How it is trained. Not used where `weights` or `train` are given.
        fits_data: The facts of the data set that the factory takes as keyword arguments and makes
            the model for, of `"features"` (the length of an input), `"classes"` (their number) and
            `"image_shape"` (rows and columns, None for a table). It raises `errors.Unsupported`
            where it cannot. Empty for a model of one size.
        weights: Trained weights: a safetensors file or a state dict saved by torch, or a mapping
            from seeds to such files; one file counts as seed 0. Relative to the folder of the
            plugin's file. Such a model is not trained.
        train: `"module:callable"`, called as `train(model, dataset, seed)`, which trains the model
            in place; for a training that no recipe describes.
        differentiable: Whether scores have gradients with respect to the input.
        stochastic: Whether two passes over one input may differ.
        engine: Name of the engine that runs its circuits unless another one is asked for; the
            module then has an attribute `engine`. None for a model without circuits.
        variant_of: Name of the model that this one is, trained in another way.
        tuning: How the recipe was chosen, in one line, and on which images; empty where it is not
            stated.
        paper, licence, authors: Where it comes from and who may use it, for its card.
    """

    family: Family
    structure: str
    recipe: Recipe = field(default_factory=Recipe)
    fits_data: tuple[Fact, ...] = ()
    weights: str | Mapping[int, str] | None = None
    train: str | None = None
    differentiable: bool = True
    stochastic: bool = False
    engine: str | None = None
    variant_of: str | None = None
    tuning: str = ""
    paper: str = ""
    licence: str = ""
    authors: str = ""

    def __post_init__(self) -> None:
        if self.weights is not None and self.train is not None:
            raise ValueError("give weights or train, not both")
        if self.weights is not None or self.train is not None:  # no recipe made them
            object.__setattr__(self, "recipe", Recipe(epochs=0))


@dataclass(frozen=True, kw_only=True)
class AttackSpec(Spec):
    """An attack; the factory returns an `interfaces.Attack`.

    Args:
        norms: The norms it can be bounded in.
        gradient: Whether it needs the model's input gradient.
        targeted: Whether it can aim at a class.
    """

    norms: tuple[Norm, ...]
    gradient: bool
    targeted: bool = False


@dataclass(frozen=True, kw_only=True)
class CertifierSpec(Spec):
    """A certifier; the factory returns an `interfaces.LipschitzCertifier` or, where `norms` are
    given, an `interfaces.RadiusCertifier`.

    Args:
        structures: The model structures it covers; empty for every model.
        source: Paper and theorem or equation.
        norms: The norms in which it certifies single images; empty for a global Lipschitz bound.
        smoothed: Whether what it certifies is not the model but its smoothed version.
        baseline: Whether it is a published bound that reports compare tighter ones with.
        costly: Whether it takes so long that it runs only with `--effort high`, or by name.
        counted: Whether what it certifies is what the model's engine computes, noise included, from
            outcomes counted: it runs where circuits run with shots, and no other one does.
    """

    structures: tuple[str, ...]
    source: str
    norms: tuple[Norm, ...] = ()
    smoothed: bool = False
    baseline: bool = False
    costly: bool = False
    counted: bool = False

    @property
    def by_default(self) -> bool:
        """Whether it runs on exact circuits without being named or asked for by more effort."""
        return not self.smoothed and not self.costly and not self.counted

    def proves(self, norm: Norm | None) -> bool:
        """Whether it proves something of a model itself, on its exact circuit: radii in a norm, or,
        for None, a Lipschitz bound."""
        if self.smoothed or self.counted:
            return False
        return norm in self.norms if norm else not self.norms

    def covers(self, structure: str) -> bool:
        """Whether it certifies models of this structure."""
        return not self.structures or structure in self.structures


@dataclass(frozen=True, kw_only=True)
class EngineSpec(Spec):
    """Where a circuit is executed; the factory returns an `interfaces.Engine`.

    Args:
        exact: Whether its probabilities are those of the circuit: no noise and, by default, no
            shots.
        differentiable: Whether probabilities have gradients.
        devices: `"module:callable"` that lists what DEVICE may be in `NAME:DEVICE`, one mapping
            a device, each with its `name`; the factory takes `device`. None for no devices.
        samples: Whether the factory takes `shots` (None for exact probabilities) and `seed`
            itself; where not, shots are drawn from what the engine gives without.
    """

    exact: bool
    differentiable: bool
    devices: str | None = None
    samples: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set; the factory returns a `datasets.base.Dataset`.

    Args:
        downloads: Whether loading it may ask the network; reports then do without it.
    """

    downloads: bool = False


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec(Spec):
    """A way to measure robustness; the factory returns the bytes of its TOML file.

    Args:
        sha256: Of the file: a protocol never changes, a correction is a new one.
    """

    sha256: str


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A subcommand of `qbench`; the factory is a `click.Command`, which is not called.

    The name `"leaderboard NAME"` makes it one of `qbench leaderboard`.
    """


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """What the adversary may do.

    Args:
        norm: `"linf"` or `"l2"`, over raw pixels.
        eps: Perturbation budget ε, in pixel units.
        box: Smallest and largest pixel allowed, or None for no bound.
        targeted: Whether the labels handed to the attack are classes to reach instead of to leave.
        input_shape: (rows, columns) of images, (features,) of the rows of a table; None where
            nobody said.
    """

    norm: Norm
    eps: float
    box: tuple[float, float] | None = (0.0, 1.0)
    targeted: bool = False
    input_shape: tuple[int, ...] | None = None

    def image_shape(self, features: int) -> tuple[int, int] | None:
        """Rows and columns of images with so many features, None for the rows of a table.

        Where nobody said, a square number of features is taken for a square image.
        """
        shape = self.input_shape
        if shape is None:
            side = math.isqrt(features)
            return (side, side) if side * side == features else None
        return (shape[0], shape[1]) if len(shape) == 2 else None


@dataclass(frozen=True, kw_only=True)
class Perturbations:
    """What a certificate speaks about: every δ with ‖δ‖ ≤ ε, and x + δ in the box.

    Args:
        norm: `"linf"` or `"l2"`, over raw pixels.
        eps: The budgets that are reported, ascending and positive, in pixel units. A certifier
            that decides one budget at a time need decide no other.
        box: Smallest and largest pixel allowed, or None for no bound.
    """

    norm: Norm
    eps: tuple[float, ...]
    box: tuple[float, float] | None = (0.0, 1.0)
