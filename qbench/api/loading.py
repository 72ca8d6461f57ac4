"""Models, data sets and results by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from qbench import report
from qbench.api.arguments import read_plugins
from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import WeightsError
from qbench.plugin_files import PluginFile
from qbench.records.archive import open_results
from qbench.records.results import Results
from qbench.registry import load_registry
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo, file_name

if TYPE_CHECKING:
    import pandas as pd


def load_model(
    name: str,
    seed: int | None = 0,
    *,
    zoo: Path | str | None = None,
    plugins: Sequence[Path | str | PluginFile] = (),
) -> nn.Module:
    """A trained model from the zoo, in evaluation mode.

    Args:
        name: As `qbench models` lists it.
        seed: Which of its trainings; None for a new, untrained model.
        zoo: A folder that `qbench train` wrote; by default the zoo that ships with qbench.
        plugins: Plugin files, whose models can be named; a model without parameters needs no zoo.

    Raises:
        UnknownNameError: There is no such model.
        WeightsError: The zoo has no such weights, or they were changed.
    """
    files, folder = read_plugins(plugins), Zoo() if zoo is None else Zoo(Path(zoo))
    provided, file = load_registry(files).get("model", name), file_name(name, seed or 0)
    if seed is not None and provided.spec.fits_data:  # the size is that of the data it learned from
        _, about = unpack(folder.read(name, seed), file)
        provided = fitted(provided, load_data(about.dataset, files))
    model: nn.Module = provided.create()
    if seed is not None and model.state_dict():
        load_into(model, unpack(folder.read(name, seed), file)[0].weights, file)
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
