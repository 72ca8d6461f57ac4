"""Weights that were trained elsewhere and are handed in, one file a seed."""

from __future__ import annotations

import importlib.util
import io
import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from qbench.errors import StoreError, UsageError, WeightsError
from qbench.files import read_file
from qbench.plugin_files import PluginFile
from qbench.provided import Provided
from qbench.specs import ModelSpec
from qbench.text import one_line
from qbench.weights.files import (
    Provenance,
    TrainingState,
    fingerprint,
    load_into,
    pack,
    unpack,
)

_LARGEST = 2**29  # bytes of a file
_SAVE = "save model.state_dict() with torch.save, or with safetensors"


@dataclass(frozen=True)
class WeightsFile:
    """A file that is named on the command line as `MODEL=FILE` or `MODEL:SEED=FILE`.

    Args:
        model: Name of the model.
        seed: Of which of its trainings; 0 where none is given.
        path: The file.
    """

    model: str
    seed: int
    path: Path

    @classmethod
    def parse(cls, text: str) -> WeightsFile:
        """Read `MODEL=FILE` or `MODEL:SEED=FILE`.

        Raises:
            UsageError: It is neither.
        """
        target, equals, path = text.partition("=")
        model, colon, seed = target.partition(":")
        if not equals or not model or not path or (colon and not seed.isdecimal()):
            raise UsageError(
                f"weights {text!r}: give MODEL=FILE, or MODEL:SEED=FILE for one seed of several"
            )
        return cls(model, int(seed or 0), Path(path))


@dataclass(frozen=True)
class GivenWeights:
    """Weights as they were handed in, and fit their model.

    Args:
        file: Name of the file, without its folder.
        content: Bytes of `weights.files.pack`.
        sha256: Their fingerprint.
    """

    file: str
    content: bytes
    sha256: str

    def spec(self, spec: ModelSpec) -> ModelSpec:
        """The spec of a model that has these weights and no recipe."""
        return replace(spec, weights=self.file, train=None)


def files_of(
    provided: Provided[ModelSpec],
    plugins: Sequence[PluginFile] = (),
    named: Iterable[WeightsFile] = (),
) -> dict[int, Path]:
    """The files of a model's weights by seed: those named for it, or its spec's; empty for none.

    Args:
        provided: The model.
        plugins: Plugins given as files; the spec's paths are relative to its plugin's.
        named: On the command line.
    """
    spec = provided.spec
    chosen = {one.seed: one.path for one in named if one.model == spec.name}
    if chosen or spec.weights is None:
        return chosen
    stated = {0: spec.weights} if isinstance(spec.weights, str) else spec.weights
    folder = _folder(provided, plugins)
    return {seed: folder / path for seed, path in stated.items()}


def _folder(provided: Provided[ModelSpec], plugins: Sequence[PluginFile]) -> Path:
    for file in plugins:
        if file.name == provided.plugin:
            return Path(file.path).parent
    found = importlib.util.find_spec(provided.spec.factory.partition(":")[0])
    return Path(found.origin).parent if found and found.origin else Path()


def read_given(
    provided: Provided[ModelSpec], seed: int, path: Path, dataset: str, dataset_sha256: str
) -> GivenWeights:
    """Read a file of weights and check that it fits its model.

    Args:
        provided: The model, made for its data set.
        seed: Which seed the weights stand for.
        path: The file.
        dataset, dataset_sha256: The data set that the model is tried on.

    Raises:
        WeightsError: It cannot be read, holds no weights, or others than the model's.
        PluginError: The model cannot be made.
    """
    spec = replace(provided.spec, weights=path.name, train=None)
    model: nn.Module = provided.create()
    load_into(model, as_weights_of(model, read_state_dict(path), str(path), spec.name), str(path))
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    about = Provenance(
        model=spec.name,
        revision=spec.revision,
        seed=seed,
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        recipe=spec.recipe,
    )
    content = pack(TrainingState(weights=weights), about)
    return GivenWeights(one_line(path.name), content, fingerprint(weights))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of safetensors, of `torch.save`, or of `qbench train`.

    A pickle is read with `weights_only=True`, so that it cannot run code.

    Raises:
        WeightsError: It cannot be read, or holds no state dict.
    """
    try:
        content = read_file(path.resolve(), _LARGEST)
    except StoreError as error:
        raise WeightsError(f"weights: {error}") from error
    found = _tensors(content, str(path)) if content[8:9] == b"{" else _torch(content, str(path))
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError(f"weights {path} hold no state dict but a {_described(found)}: {_SAVE}")
    return {str(name): value for name, value in found.items()}


def _described(found: object) -> str:
    if isinstance(found, Mapping):
        return "mapping with " + ", ".join(repr(str(key)) for key in list(found)[:3])
    return type(found).__name__


def _tensors(content: bytes, name: str) -> Mapping[str, Tensor]:
    try:
        found: dict[str, Tensor] = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        reason = one_line(str(error), 200)
        raise WeightsError(f"weights {name} are damaged, as when cut short: {reason}") from error
    if any(key.startswith("weights/") for key in found):
        return unpack(content, name)[0].weights
    return found


def _torch(content: bytes, name: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # it wonders about how a pickle was made
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights {name} are a pickle that holds more than tensors, which could run code and "
            f"is not read: {_SAVE}"
        ) from error
    except Exception as error:  # torch raises what its readers meet
        reason = one_line(str(error), 200)
        raise WeightsError(
            f"weights {name} are no safetensors file and no state dict of torch, or damaged: "
            f"{type(error).__name__}: {reason}"
        ) from error


def as_weights_of(
    model: nn.Module, state: Mapping[str, Tensor], file: str, name: str
) -> dict[str, Tensor]:
    """Weights in the precision of a model whose parameters have the same names and shapes.

    Raises:
        WeightsError: The first that differs.
    """
    own = model.state_dict()
    for key in own.keys() | state.keys():
        if key not in own or key not in state:
            lack, more = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            parts = [f"lack {lack[0]!r}"] if lack else []
            parts += [f"have {more[0]!r}"] if more else []
            raise WeightsError(
                f"weights {file} do not fit {name}: they {' and '.join(parts)} "
                f"({len(lack)} names are missing, {len(more)} are unknown)"
            )
    for key, value in sorted(state.items()):
        mine = own[key]
        if value.shape != mine.shape:
            raise WeightsError(
                f"weights {file} do not fit {name}: {key!r} has shape {tuple(value.shape)}, the "
                f"model's has {tuple(mine.shape)}"
            )
        floating = value.is_floating_point() and mine.is_floating_point()
        if not floating and value.dtype != mine.dtype:
            raise WeightsError(
                f"weights {file} do not fit {name}: {key!r} is {value.dtype}, the model's is "
                f"{mine.dtype}"
            )
    return {key: value.to(own[key].dtype) for key, value in state.items()}
