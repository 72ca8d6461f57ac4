"""Trained weights as files: safetensors with the history of the training inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from qbench.errors import WeightsError
from qbench.specs import Recipe

_KEY = "qbench"  # one metadata entry: safetensors does not keep the order of several


@dataclass
class TrainingState:
    """Everything a training goes on from: weights, Adam's moments, and the history so far."""

    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Provenance:
    """What a set of weights came from: whoever trains from this again gets the same ones."""

    model: str
    revision: int
    seed: int
    dataset: str
    dataset_sha256: str
    recipe: Recipe


def pack(state: TrainingState, provenance: Provenance, *, resumable: bool = False) -> bytes:
    """Weights and history as the bytes of a safetensors file; equal input gives equal bytes.

    Args:
        state: The trained state.
        provenance: Kept in the file's metadata.
        resumable: Keep Adam's moments too.
    """
    about = asdict(provenance) | {
        "recipe": provenance.recipe.stated(),
        "epoch": state.epoch,
        "loss": state.loss,
        "test_accuracy": state.test_accuracy,
    }
    tensors = {f"weights/{name}": value.contiguous() for name, value in state.weights.items()}
    if resumable:
        tensors |= {f"moments/{name}": value.contiguous() for name, value in state.moments.items()}
    return safetensors.torch.save(tensors, {_KEY: json.dumps(about, sort_keys=True)})


def unpack(content: bytes, name: str) -> tuple[TrainingState, Provenance]:
    """Read what `pack` wrote.

    Args:
        content: Bytes of the file.
        name: Of the file, for messages.

    Raises:
        WeightsError: The file is damaged or of another kind.
    """
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about: dict[str, Any] = json.loads(header["__metadata__"][_KEY])
        state = TrainingState(
            epoch=about.pop("epoch"),
            weights=_under("weights/", tensors),
            moments=_under("moments/", tensors),
            loss=about.pop("loss"),
            test_accuracy=about.pop("test_accuracy"),
        )
        recipe = Recipe(**about.pop("recipe"))
        return state, Provenance(recipe=recipe, **about)
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{name} holds no qbench weights: {reason}") from error


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names, types, shapes and values, however they are stored."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def load_into(model: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Put weights into a model.

    Raises:
        WeightsError: Names or shapes differ from the model's, or a value is not finite.
    """
    own = model.state_dict()
    for key in own.keys() | weights.keys():
        if key not in own or key not in weights or own[key].shape != weights[key].shape:
            what = type(model).__name__
            raise WeightsError(f"{name} does not fit {what}: parameter {key!r} differs")
        if not bool(weights[key].isfinite().all()):
            raise WeightsError(f"{name}: parameter {key!r} is not finite")
    model.load_state_dict(weights)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
