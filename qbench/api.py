"""The five-line API: load a model, load the data, attack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qbench import report
from qbench.datasets.base import Dataset, Split, check_images, load_data
from qbench.errors import DataError, Unsupported, UsageError, WeightsError
from qbench.evaluation import scoring
from qbench.evaluation.crafting import craft
from qbench.protocols import DEFAULT, load_protocol
from qbench.records.archive import open_results
from qbench.records.results import Results
from qbench.registry import load_registry
from qbench.specs import Norm, ThreatModel
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo, file_name

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
    """

    clean_accuracy: float
    robust_accuracy: float
    wilson95: tuple[float, float]
    x_adv: Tensor
    per_image: dict[str, NDArray[np.generic]]
    forward: int
    gradient: int

    def __str__(self) -> str:
        low, high = self.wilson95
        return (
            f"clean {self.clean_accuracy:.3f}, robust {self.robust_accuracy:.3f} "
            f"[{low:.3f}, {high:.3f}] over {len(self.x_adv)} images"
        )


def load_model(name: str, seed: int | None = 0, *, zoo: Path | str | None = None) -> nn.Module:
    """A trained model from the zoo, in evaluation mode.

    Args:
        name: As `qbench models` lists it.
        seed: Which of its trainings; None for a new, untrained model.
        zoo: A folder that `qbench train` wrote; by default the zoo that ships with qbench.

    Raises:
        UnknownNameError: There is no such model.
        WeightsError: The zoo has no such weights, or they were changed.
    """
    model: nn.Module = load_registry().get("model", name).create()
    if seed is not None:
        file = file_name(name, seed)
        content = (Zoo() if zoo is None else Zoo(Path(zoo))).read(name, seed)
        load_into(model, unpack(content, file)[0].weights, file)
    return model.eval()


def load_dataset(name: str = "glyphs") -> Dataset:
    """A data set with `.train` and `.test`, each with images `.x` (n, features) and labels `.y`.

    Raises:
        UnknownNameError: There is no such data set.
        DataError: Its file is missing or was changed.
    """
    data = load_data(name)
    # A copy: what its user changes there changes nothing for the next one.
    train, test = (Split(s.x.clone(), s.y.clone()) for s in (data.train, data.test))
    return replace(data, train=train, test=test)


@dataclass(frozen=True)
class Records:
    """The records of a run or an archive, for further analysis.

    Args:
        results: The records and their side data.
    """

    results: Results

    def to_pandas(self) -> pd.DataFrame:
        """One row a record; of certified radii, one a budget."""
        return report.to_frame(self.results)


def results(path: Path | str) -> Records:
    """The results in the folder of a run or an archive.

    Raises:
        StoreError: There are none, or they are damaged.
    """
    return Records(open_results(Path(path)))


def load_published(model: str, path: Path | str) -> nn.Module:
    """A checkpoint of the authors of arXiv:2404.16154 as one of our models.

    The file is read with `weights_only=True`, so it cannot run code. Parameters keep the file's
    precision.

    Args:
        model: Which model it is for, e.g. `"reup"`, `"amplitude"`, `"convnet"`, `"fourier"`.
        path: The checkpoint.

    Raises:
        WeightsError: The file is no checkpoint, or does not fit the model.
    """
    ours: nn.Module = load_registry().get("model", model).create()
    names = getattr(ours, "published_names", {})
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
        weights = {names[name]: value for name, value in raw.items()}
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # torch raises what its unpickler meets
        first = str(error).splitlines()[0] if str(error) else ""
        raise WeightsError(
            f"{path} is no published {model} checkpoint: {type(error).__name__}: {first}"
        ) from error
    ours = ours.to(next(iter(weights.values())).dtype)
    load_into(ours, weights, str(path))
    return ours.eval()


def evaluate(
    model: nn.Module | str,
    attack: str = "pgd",
    eps: float = 0.1,
    *,
    norm: Norm = "linf",
    data: Dataset | Split | str = "glyphs",
    box: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    **params: Any,
) -> Evaluation:
    """Attack a model and count what survives, with the attack verified from outside.

    Args:
        model: A `torch.nn.Module` from images (n, features) in [0, 1] to scores (n, classes), or
            the name of a zoo model.
        attack: As `qbench attacks` lists it.
        eps: Perturbation budget in pixel units.
        norm: `"linf"` or `"l2"`.
        data: Images and labels, or a data set or its name: its test images are attacked. Of bare
            images and labels, a square number of features is taken for a square image.
        box: Range of pixels, or None for no range.
        seed: Of the attack's randomness, and of a zoo model.
        **params: Parameters of the attack, e.g. `steps=100`; otherwise the leaderboard's.

    Raises:
        UnknownNameError, UsageError: Bad arguments.
        DataError: Images of the wrong shape or outside the box.
        VerificationError: The attack or the model returned what they may not.
    """
    provided = load_registry().get("attack", attack)
    if norm not in provided.spec.norms:
        norms = ", ".join(provided.spec.norms)
        raise Unsupported(f"{attack} cannot be bounded in {norm!r}: it takes {norms}")
    protocol = load_protocol(DEFAULT)
    protocol.threat_model(eps)  # checks ε
    module = load_model(model, seed) if isinstance(model, str) else model
    if not isinstance(module, nn.Module):
        raise UsageError(f"model must be a torch.nn.Module or a name, got {type(module).__name__}")
    dataset = load_data(data) if isinstance(data, str) else data
    split = dataset.test if isinstance(dataset, Dataset) else dataset
    check_images(split.x, split.y, split.x[:1].numel(), int(split.y.max()) + 1)
    shape = dataset.input_shape if isinstance(dataset, Dataset) else None
    threat = ThreatModel(norm=norm, eps=eps, box=box, input_shape=shape)
    _check_fit(module, split.x)
    instance = provided.create(**{**protocol.attack_params(attack, eps), **params})
    crafted = craft(instance, module, split.x, split.y, threat, seed)
    scored = scoring.score(module, split.x, crafted.x_adv, split.y)
    return Evaluation(
        clean_accuracy=scored.clean_accuracy,
        robust_accuracy=scored.robust_accuracy,
        wilson95=scored.wilson95,
        x_adv=crafted.x_adv,
        per_image=dict(vars(scored)),
        forward=crafted.forward,
        gradient=crafted.gradient,
    )


def _check_fit(model: nn.Module, x: Tensor) -> None:
    try:
        scoring.predict(model, x[:1])
    except RuntimeError as error:  # what torch raises when shapes or precisions do not fit
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the model does not take {x.dtype} images of {x.shape[1]} pixels: {reason}"
        ) from error
