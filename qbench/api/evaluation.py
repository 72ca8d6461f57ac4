"""`qbench.evaluate`: attack a model, and count what survives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from qbench.adapters import Adapted, adapt
from qbench.api.arguments import read_attacks, read_budgets, read_norm, read_plugins
from qbench.api.loading import load_model
from qbench.datasets.attacked import AttackedImages, Box, attacked_images, check_labels
from qbench.datasets.base import Split
from qbench.engines import engine_elsewhere
from qbench.engines.modules import engine_of, on_engine
from qbench.errors import Unsupported, UsageError
from qbench.evaluation import scoring
from qbench.evaluation.crafting import Crafted, craft
from qbench.evaluation.task import STOCHASTIC, varies
from qbench.interfaces import Attack
from qbench.model_names import with_engine
from qbench.plugin_files import PluginFile
from qbench.registry import Registry, load_registry
from qbench.specs import Norm, ThreatModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Evaluation:
    """How a model does under one attack.

    Args:
        clean_accuracy: Share of clean images classified correctly.
        robust_accuracy: Share classified correctly both clean and under attack.
        wilson95: 95 % Wilson interval of the robust accuracy.
        x_adv: Verified adversarial images (n, features).
        per_image: Outcomes by column (see `scoring.Scored`).
        forward, gradient: Images passed through the model, and differentiated, by the attack.
        attack, norm, eps: What was asked.
        model: How the model was asked, and what was found out about it, in one line.
        passes: Fresh passes that accuracies are means of; above 1 where scores vary.
    """

    clean_accuracy: float
    robust_accuracy: float
    wilson95: tuple[float, float]
    x_adv: Tensor
    per_image: dict[str, NDArray[np.generic]]
    forward: int
    gradient: int
    attack: str
    norm: Norm
    eps: float
    model: str
    passes: int

    def __str__(self) -> str:
        low, high = self.wilson95
        means = f", means of {self.passes} passes" if self.passes > 1 else ""
        return (
            f"clean {self.clean_accuracy:.3f}, robust {self.robust_accuracy:.3f} "
            f"[{low:.3f}, {high:.3f}] over {len(self.x_adv)} images{means}"
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row."""
        return Evaluations((self,)).to_pandas()


class Evaluations(tuple[Evaluation, ...]):
    """Evaluations of one model: every attack at every budget, in the order they were asked for."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(f"{one.attack}, {one.norm}, ε = {one.eps:g}: {one}" for one in self)

    def to_pandas(self) -> pd.DataFrame:
        """One row an evaluation."""
        import pandas as pd

        return pd.DataFrame(
            {
                "attack": one.attack,
                "norm": one.norm,
                "eps": one.eps,
                "images": len(one.x_adv),
                "clean_accuracy": one.clean_accuracy,
                "robust_accuracy": one.robust_accuracy,
                "wilson95_low": one.wilson95[0],
                "wilson95_high": one.wilson95[1],
                "forward": one.forward,
                "gradient": one.gradient,
                "passes": one.passes,
            }
            for one in self
        )


@overload
def evaluate(
    model: Any, attack: str | Attack = ..., eps: float = ..., **options: Any
) -> Evaluation: ...
@overload
def evaluate(model: Any, attack: Any = ..., eps: Any = ..., **options: Any) -> Evaluations: ...
def evaluate(
    model: Any,
    attack: Any = "pgd",
    eps: Any = 0.1,
    *,
    norm: Any = "linf",
    data: Any = "glyphs",
    box: Box = (0.0, 1.0),
    engine: str | None = None,
    shots: int | None = None,
    plugins: Sequence[Path | str] = (),
    seed: int = 0,
    **params: Any,
) -> Evaluation | Evaluations:
    """Attack a model and count what survives, with the attack verified from outside.

    Args:
        model: Anything that `adapt` takes, or the name of a zoo model, perhaps with its engine
            (`"reup-hw4@aer:marrakesh:4096"`).
        attack: As `qbench attacks` lists it, with parameters if need be (`"pgd:steps=10"`), or a
            function `attack(model, x, y, threat_model, generator)` (see `interfaces.Attack`).
        eps: Perturbation budget in pixel units.
        norm: `"linf"` or `"l2"`.
        data: A data set or its name, of which the test images are attacked; a `Split`; a pair of
            images and labels as arrays; a `DataLoader` or a torch data set.
        box: Range of pixels, or None for no range.
        engine: Where the circuits of qbench's own models run, e.g. `"aer:marrakesh"`.
        shots: Runs of each circuit, of qbench's own models or PennyLane's.
        plugins: Plugin files, whose models, attacks and data sets can be named.
        seed: Of the attack's randomness, and of a zoo model.
        **params: Parameters of the attack, e.g. `steps=100`; otherwise the leaderboard's.

    Returns:
        An `Evaluation`; of a list of attacks, or of budgets, an `Evaluations`.

    Raises:
        UnknownNameError, UsageError: Bad arguments.
        DataError: Images that cannot be used, or that the model does not take.
        Unsupported: The attack cannot be bounded in this norm, or needs a gradient that the model
            does not give.
        VerificationError: The attack or the model returned what they may not.
    """
    if isinstance(model, str):
        name = with_engine(model, engine, shots)
        model, engine, shots = name.model, name.engine, name.shots
    files = read_plugins(plugins)
    registry = load_registry(files)
    attacks, several_attacks = read_attacks(attack, params, registry)
    budgets, several_budgets = read_budgets(eps)
    given = attacked_images(data, box, files)
    about: dict[str, Any] = {"norm": read_norm(norm), "box": box, "input_shape": given.input_shape}
    threats = [ThreatModel(eps=one, **about) for one in budgets]
    asked = [
        (one, threat, one.create(registry, threat.norm, threat.eps))
        for one in attacks
        for threat in threats
    ]
    module = fitted_model(model, given, box, seed, files, None if engine else shots)
    split, found = given.split, []
    with running_on(module, engine, shots, seed, registry), _seeded(seed):
        # What an engine without shots gives is the same every time, and may take long.
        varying = shots is not None or (engine is None and varies(module, split.x))
        passes, repeats = _said(module) if varying else (1, 1)
        clean = torch.stack([scoring.predict(module, split.x) for _ in range(repeats)])
        for one, threat, instance in asked:
            if one.needs_gradient(registry) and (why := module.missing_gradient(split.x)):
                raise Unsupported(f"{one.label} needs gradients: {why}")
            crafted = _crafted(instance, module, split, threat, seed, passes)
            x_adv = crafted.x_adv
            attacked = torch.stack([scoring.predict(module, x_adv) for _ in range(repeats)])
            scored = scoring.outcomes(clean, attacked, split.x, x_adv, split.y)
            found.append(
                Evaluation(
                    clean_accuracy=scored.clean_accuracy,
                    robust_accuracy=scored.robust_accuracy,
                    wilson95=scored.wilson95,
                    x_adv=x_adv,
                    per_image=dict(vars(scored)),
                    forward=crafted.forward,
                    gradient=crafted.gradient,
                    attack=one.label,
                    norm=threat.norm,
                    eps=threat.eps,
                    model=module.describe(),
                    passes=repeats,
                )
            )
    return Evaluations(found) if several_attacks or several_budgets else found[0]


def fitted_model(
    model: Any,
    given: AttackedImages,
    box: Box,
    seed: int,
    plugins: tuple[PluginFile, ...] = (),
    shots: int | None = None,
) -> Adapted:
    """A model, or the one of this name, as it is asked about the images that were given.

    Args:
        model: What `evaluate` takes.
        given, box: Images, labels and the range of pixels.
        seed: Of a zoo model.
        plugins: Plugins given as files, for names.
        shots: Of PennyLane circuits; those of qbench's own models are set by `running_on`.

    Raises:
        DataError: It does not take such images, or has too few classes for the labels.
        UsageError, UnknownNameError: It is no model.
    """
    if isinstance(model, str):
        model = load_model(model, seed, plugins=plugins)
    if isinstance(model, nn.Module) and engine_of(model) is not None:
        shots = None
    if isinstance(model, Adapted) and shots is not None:
        raise UsageError("set shots where the model is adapted: qbench.adapt(model, shots=...)")
    adapted = model if isinstance(model, Adapted) else adapt(model, shots=shots)
    adapted.image_shape = given.image_shape
    adapted.unit = 1.0 if box is None else box[1] - box[0]
    layout = adapted.layout(given.split.x)
    check_labels(given.split.y, layout.classes)
    return adapted


@contextmanager
def running_on(
    model: nn.Module, engine: str | None, shots: int | None, seed: int, registry: Registry
) -> Iterator[None]:
    """For the time of the block the circuits of a model run elsewhere.

    Raises:
        Unsupported: It has no circuit that an engine could run.
    """
    own = engine_of(model)
    if own is None and engine is not None:
        raise Unsupported(
            "the model has no circuit that a qbench engine could run: leave engine out, and "
            "choose the device where its circuit is made, or make it with qbench_circuits"
        )
    if own is None or (engine is None and shots is None):
        yield
        return
    with on_engine(model, engine_elsewhere(own, engine, shots, seed, registry)):
        yield


def _crafted(
    attack: Attack, module: Adapted, split: Split, threat: ThreatModel, seed: int, passes: int
) -> Crafted:
    """As `craft`; an attack of one's own that fails for want of a gradient is told so."""
    try:
        return craft(attack, module, split.x, split.y, threat, seed, passes=passes)
    except RuntimeError as error:
        why = module.missing_gradient(split.x) if "grad" in str(error) else ""
        if not why:
            raise
        raise Unsupported(f"the attack needs gradients: {why}") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _said(module: Adapted) -> tuple[int, int]:
    """Passes that attacks average, and repeats that accuracies do, with a warning that says so."""
    passes, repeats = STOCHASTIC
    warnings.warn(
        f"{module.kind}: scores vary from pass to pass; attacks see the mean of {passes} "
        f"passes, and accuracies are means over {repeats}",
        stacklevel=3,
    )
    return passes, repeats
