"""Models, data sets and results by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qbench import report
from qbench.api.arguments import read_plugins
from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import WeightsError
from qbench.evaluation.placing import put_on
from qbench.model_names import ModelName
from qbench.plugin_files import PluginFile
from qbench.records.boards import open_results
from qbench.records.results import Results
from qbench.registry import load_registry
from qbench.text import one_line
from qbench.weights.files import load_into, unpack
from qbench.weights.given import as_weights_of, read_state_dict
from qbench.weights.zoo import Zoo, file_name

if TYPE_CHECKING:
    import pandas as pd


def load_model(
    name: str,
    seed: int | None = 0,
    *,
    dataset: str = "glyphs",
    zoo: Path | str | None = None,
    plugins: Sequence[Path | str | PluginFile] = (),
) -> nn.Module:
    """A trained model from the zoo, in evaluation mode.

    Args:
        name: As `qbench models` lists it, perhaps with the engine of its circuits:
            `"reup@pennylane"`, `"reup-hw4@aer:marrakesh:4096"`.
        seed: Which of its trainings; None for a new, untrained model.
        dataset: What it was trained on, of the data sets that qbench ships weights for.
        zoo: A folder that `qbench train` wrote, in the place of the zoo that ships with qbench.
        plugins: Plugin files, whose models can be named; a model without parameters needs no zoo.

    Raises:
        UnknownNameError, UsageError: There is no such model or engine.
        Unsupported: The model has no circuit that an engine could run.
        WeightsError: The zoo has no such weights, or they were changed.
    """
    files = read_plugins(plugins)
    folder = Zoo.shipped(dataset) if zoo is None else Zoo(Path(zoo))
    registry, asked = load_registry(files), ModelName.parse(name)
    name = asked.model
    provided, file = registry.get("model", name), file_name(name, seed or 0)
    if seed is not None and provided.spec.fits_data:  # the size is that of the data it learned from
        _, about = unpack(folder.read(name, seed), file)
        provided = fitted(provided, load_data(about.dataset, files))
    model: nn.Module = provided.create()
    if seed is not None and model.state_dict():
        load_into(model, unpack(folder.read(name, seed), file)[0].weights, file)
    if asked.elsewhere:
        put_on(model, asked, seed or 0, registry)
    return model.eval()


def load_dataset(
    name: str = "glyphs", *, plugins: Sequence[Path | str | PluginFile] = ()
) -> Dataset:
    """A data set with `.train` and `.test`, each with images `.x` (n, features) and labels `.y`.

    Args:
        name: As `qbench datasets` lists it.
        plugins: Plugin files, whose data sets can be named.

    Raises:
        UnknownNameError: There is no such data set.
        DataError: Its file is missing or was changed.
    """
    data = load_data(name, read_plugins(plugins))
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

    The file is read with `weights_only=True`, so it cannot run code. The model computes in the
    file's precision, at least in float32, and takes images of any: the gradient by float32 images
    of a model in float64 is float32.

    Args:
        model: Which model it is for, e.g. `"reup"`, `"amplitude"`, `"convnet"`, `"fourier"`.
        path: The checkpoint.

    Raises:
        UnknownNameError: There is no such model.
        WeightsError: The file is no checkpoint, or does not fit the model.
    """
    ours: nn.Module = load_registry().get("model", model).create()
    names: Mapping[str, str] = getattr(ours, "published_names", {})
    if not names:
        raise WeightsError(f"the authors published no checkpoint of {model}")
    raw = read_state_dict(Path(path))
    if raw.keys() != names.keys():
        held = one_line(", ".join(map(repr, list(raw)[:4])), 200) or "nothing"
        raise WeightsError(
            f"{path} is no published {model} checkpoint: it holds {held}, and such a checkpoint "
            f"holds {', '.join(map(repr, names))}"
        )
    precision = reduce(torch.promote_types, (value.dtype for value in raw.values()), torch.float32)
    if not precision.is_floating_point:
        raise WeightsError(f"{path} is no published {model} checkpoint: it holds {precision}")
    ours = ours.to(precision)
    weights = {names[name]: value for name, value in raw.items()}
    load_into(ours, as_weights_of(ours, weights, str(path), model), str(path))
    ours.register_forward_pre_hook(_in_own_precision)
    return ours.eval()


def _in_own_precision(module: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    precision = next(module.parameters()).dtype
    return tuple(x.to(precision) for x in images)
