"""Attacks on a sample of images again, with more steps and starts, and beside them on new ones.

A record says which images withstood its attacks. Whoever made it may have attacked weakly, or may
know the test images, also the new ones that every run draws: so both are drawn here by a seed that
nobody could know before. This runs the model's own code.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qbench.attack_strings import attack_label
from qbench.datasets.base import Dataset, Split
from qbench.errors import VerificationError
from qbench.evaluation.crafting import craft
from qbench.evaluation.isolation import isolated, time_limit
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.task import TIME_LIMIT_S
from qbench.protocols import Protocol
from qbench.provided import Provided
from qbench.records.record import Record
from qbench.registry import Registry
from qbench.specs import AttackSpec, ModelSpec
from qbench.weights.files import load_into, unpack

LARGER: Mapping[str, int] = {"steps": 3, "restarts": 5}  # times what an attack has of them
BROKEN = 0.15  # of the images that stood: as many may fall to more steps and starts
CHANCE_Z = 3.0  # standard deviations by which new images must be worse
FRESH = 400  # new images that are scored


@dataclass(frozen=True)
class Attacked:
    """What a sample gave.

    Args:
        attack: What was run, in words.
        stood: How many images of the sample stood against everything on record.
        broken: How many of them fell now.
        on_known, on_new: Robust accuracy on the sample, and on as many new images.
        clean_on_known, clean_on_new: Clean accuracy on the protocol's images and on `FRESH` new
            ones; None where the data set makes none.
    """

    attack: str
    stood: int
    broken: int
    on_known: float
    on_new: float | None
    clean_on_known: float
    clean_on_new: float | None


def attack_again(
    provided: Provided[ModelSpec],
    saved: SavedModel,
    records: list[Record],
    standing: NDArray[np.bool_],
    split: Split,
    dataset: Dataset,
    protocol: Protocol,
    registry: Registry,
    *,
    images: int,
    seed: int,
) -> Attacked:
    """Attack a sample of the protocol's images, and as many new ones, at the ranking budget.

    Args:
        provided: The model's spec.
        saved: The model with its weights.
        records: Attacks on it, of which one is run again where the protocol names none.
        standing: (n,): the images that nothing on record broke.
        split: The protocol's images.
        dataset: Where they come from.
        protocol: What is measured.
        registry: Of attacks.
        images: How many of each.
        seed: Of the sample, the new images and the attack.

    Raises:
        VerificationError: No attack can be run, or what it made are no adversarial images.
    """
    drawn = np.random.default_rng(seed)
    places = np.sort(drawn.permutation(len(split.y))[:images])
    x, y = split.x[places], split.y[places]
    new = None if dataset.fresh is None else dataset.fresh(max(FRESH, len(y)), seed=seed)
    if new is not None:
        x, y = torch.cat([x, new.x[: len(y)]]), torch.cat([y, new.y[: len(y)]])
    attack, params = _stronger(provided.spec, records, protocol, registry)
    usual = attack.resolved(protocol.attack_params(attack.spec.name, protocol.ranking_eps))
    threat = replace(protocol.threat_model(protocol.ranking_eps), input_shape=dataset.input_shape)
    with isolated(seed), time_limit(TIME_LIMIT_S):
        model: nn.Module = provided.create()
        load_into(model, unpack(saved.weights, provided.spec.name)[0].weights, provided.spec.name)
        made = attack.create(**params)
        crafted = craft(made, model.eval(), x, y, threat, seed)
    right = saved.right(crafted.x_adv, y, seed=seed)
    clean = saved.right(x, y, seed=seed)
    robust, k = (right & clean).double(), len(places)
    stood = torch.from_numpy(standing[places])
    clean_known = saved.right(split.x, split.y, seed=seed, singly=False)
    clean_new = None
    if new is not None:
        clean_new = saved.right(new.x, new.y, seed=seed, singly=False)
    return Attacked(
        attack=attack_label(attack.spec.name, attack.resolved(params), usual),
        stood=int(stood.sum()),
        broken=int((stood & ~right[:k]).sum()),
        on_known=float(robust[:k].mean()),
        on_new=None if new is None else float(robust[k:].mean()),
        clean_on_known=float(clean_known.double().mean()),
        clean_on_new=None if clean_new is None else float(clean_new.double().mean()),
    )


def problems(found: Attacked, known: int, images: int) -> list[str]:
    """What the sample says against the records: a line each.

    Args:
        found: The sample.
        known: How many images the protocol has.
        images: How many were attacked of each kind.
    """
    lines = []
    due = BROKEN * found.stood
    if found.broken > due + CHANCE_Z * (due * (1 - BROKEN)) ** 0.5:
        lines.append(
            f"{found.broken} of {found.stood} images that stand on record fall to {found.attack}"
        )
    for what, old, new, of_old, of_new in (
        ("clean accuracy", found.clean_on_known, found.clean_on_new, known, FRESH),
        ("robust accuracy", found.on_known, found.on_new, images, images),
    ):
        if new is None:
            continue
        pooled = (of_old * old + of_new * new) / (of_old + of_new)
        deviation = (pooled * (1 - pooled) * (1 / of_old + 1 / of_new)) ** 0.5
        if old - new > CHANCE_Z * deviation:
            lines.append(f"{what} {old:.3f} on the protocol's images, {new:.3f} on new ones")
    return lines


def _stronger(
    spec: ModelSpec, records: list[Record], protocol: Protocol, registry: Registry
) -> tuple[Provided[AttackSpec], dict[str, Any]]:
    """The protocol's first attack, else one on record that the model allows, with more of
    everything that it has steps or starts of."""
    names = [protocol.first_attack] if protocol.first_attack else []
    names += sorted({r.task.attack.name for r in records if r.task.kind == "attack"})
    for name in names:
        provided = registry.get("attack", name)
        if protocol.norm in provided.spec.norms and (
            spec.differentiable or not provided.spec.gradient
        ):
            usual = provided.resolved(protocol.attack_params(name, protocol.ranking_eps))
            known = inspect.signature(provided.spec.resolve()).parameters
            more = {
                key: factor * value
                for key, factor in LARGER.items()
                if key in known and isinstance(value := usual.get(key), int)
            }
            return provided, {**protocol.attack_params(name, protocol.ranking_eps), **more}
    raise VerificationError("no attack on record can be run on it again")
