"""The authors' checkpoints attacked under both protocols, and their bounds beside Table I."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import qbench
from qbench.datasets.base import Dataset, Split
from qbench.errors import VerificationError, WeightsError
from qbench.evaluation.crafting import craft
from qbench.evaluation.lipschitz import certify
from qbench.evaluation.scoring import predict
from qbench.protocols import Protocol, load_protocol
from qbench.registry import load_registry
from qbench_reproduction.published.checkpoints import Named, find, images
from qbench_reproduction.published.results import (
    Accuracy,
    Checkpoint,
    PublishedResults,
    UnderProtocol,
)
from qbench_reproduction.published.table_1 import compare

Advance = Callable[[float, str], None]

PROTOCOLS = ("wendlinger2024", "glyphs-linf-v1")
PGD = "pgd"
# At the budget of the transfer alone. Of 50 steps: 100 break no image more of those published.
STRONG, _STEPS = "apgd-t", 50
# The certifiers whose bounds Table I lists; nothing bounds the amplitude circuit everywhere.
_BOUNDS = {"reup": "circuit-bound", "convnet": "spectral-product", "fourier": "lipsdp-neuron"}


def steps(folder: Path) -> int:
    """How often `evaluate_published` reports progress for a folder.

    Raises:
        DataError, WeightsError: It holds no checkpoints.
    """
    checkpoints, _ = find(folder)
    attacks = sum(len(load_protocol(name).eps) + 1 for name in PROTOCOLS)
    return len(checkpoints) * (1 + attacks)


def evaluate_published(
    folder: Path, advance: Advance, limit: int | None = None
) -> PublishedResults:
    """Evaluate every checkpoint of a folder on the images of that folder.

    Args:
        folder: It holds `model_checkpoints` and the images (see `checkpoints`).
        advance: Called as `advance(1, what was done)`, `steps(folder)` times in all.
        limit: How many of each protocol's images are attacked; None for all.

    Raises:
        DataError: The folder or its images cannot be used.
        WeightsError: There is no checkpoint, or one is damaged, not plain tensors, or not of the
            model that its name says.
    """
    named, others = find(folder)
    data = images(folder)
    models = [qbench.load_published(one.model, one.path) for one in named]
    split = load_protocol(PROTOCOLS[0]).selection.images(data)
    checkpoints = []
    for one, model in zip(named, models, strict=True):
        checkpoints.append(without_attack(one, model, split))
        advance(1, one.path.name)
    files = [one.path.name for one in named]
    protocols = [
        _attacked(load_protocol(name), files, models, data, advance, limit) for name in PROTOCOLS
    ]
    return PublishedResults(
        checkpoints=tuple(checkpoints),
        clean_images=len(split.y),
        protocols=tuple(protocols),
        table_1=compare(checkpoints),
        others=tuple(others),
    )


def without_attack(named: Named, model: nn.Module, split: Split) -> Checkpoint:
    """A checkpoint on clean images, and its bound.

    Raises:
        WeightsError: Its scores are not finite, or nothing bounds such weights.
    """
    bound, certifier = None, _BOUNDS.get(named.model)
    try:
        scores = predict(model, split.x)
        if certifier is not None:
            instance = load_registry().get("certifier", certifier).create()
            generator = torch.Generator().manual_seed(0)
            with np.errstate(all="ignore"):
                bound = certify(instance, model, split.x, generator)[0].lipschitz
    except (VerificationError, ValueError) as error:  # numpy's, of weights too large to multiply
        raise WeightsError(f"{named.path} cannot be evaluated: {error}") from error
    return Checkpoint(
        file=named.path.name,
        model=named.model,
        penalty=named.penalty,
        epoch=named.epoch,
        precision=str(scores.dtype).removeprefix("torch."),
        cross_entropy=float(cross_entropy(scores, split.y)),
        accuracy=_share(scores.argmax(1) == split.y),
        bound=bound,
    )


def _attacked(
    protocol: Protocol,
    files: Sequence[str],
    models: Sequence[nn.Module],
    data: Dataset,
    advance: Advance,
    limit: int | None,
) -> UnderProtocol:
    split = protocol.selection.images(data, limit)
    at = protocol.ranking_eps

    def made(attack: str, eps: float, of: int, **params: int) -> Tensor:
        asked = {**protocol.attack_params(attack, eps), **params}
        instance = load_registry().get("attack", attack).create(**asked)
        threat = protocol.threat_model(eps)
        x_adv = craft(instance, models[of], split.x, split.y, threat, seed=0).x_adv
        advance(1, f"{files[of]}, {attack}, ε = {eps:g}, {protocol.name}")
        return x_adv

    def correct(of: int, x: Tensor) -> Tensor:
        return predict(models[of], x).argmax(1) == split.y

    every = range(len(models))
    pgd = [{eps: made(PGD, eps, one) for eps in protocol.eps} for one in every]
    strong = [made(STRONG, at, one, steps=_STEPS) for one in every]
    accuracy = []
    for one in every:
        clean = correct(one, split.x)
        under = [correct(one, pgd[one][eps]) for eps in protocol.eps]
        shown = [correct(one, x) for x in (*strong, *(images[at] for images in pgd))]
        accuracy.append(
            Accuracy(
                clean=_share(clean),
                attacked=tuple(map(_share, under)),
                robust=tuple(_share(clean & still) for still in under),
                worst=_share(torch.stack([clean, *shown]).all(0)),
            )
        )
    return UnderProtocol(
        protocol=protocol.name,
        split=protocol.selection.split,
        images=len(split.y),
        boxed=protocol.box is not None,
        eps=protocol.eps,
        transfer_eps=at,
        accuracy=tuple(accuracy),
        transfer=tuple(
            tuple(_share(correct(target, pgd[source][at])) for target in every) for source in every
        ),
    )


def _share(which: Tensor) -> float:
    return float(which.double().mean())
