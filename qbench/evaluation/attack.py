"""Robust accuracy: a model under one attack on itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import nn

from qbench.errors import QbenchError, Unsupported
from qbench.evaluation import scoring
from qbench.evaluation.crafting import craft
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of
from qbench.interfaces import Attack, Engine
from qbench.records.columns import to_npz
from qbench.records.identity import AttackId
from qbench.records.record import AccuracyMetrics


@dataclass(frozen=True, kw_only=True)
class AttackTask(Task):
    """Craft adversarial images with one attack, and count what survives. Needs the training."""

    identity: AttackId
    leaves_artifact: ClassVar[bool] = True

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Attack, verify, score."""
        asked, trained = self.identity, context.trained(inputs)
        model = context.model(trained)
        ideal = asked.engine is not None and asked.engine.attacked == "ideal"
        seen = context.ideal(trained) if ideal else model
        attack = runnable(context, asked.attack.name, asked.attack.params, seen)
        x, y = context.split.x, context.split.y
        passes, repeats = context.passes_and_repeats
        threat = context.protocol.threat_model(asked.eps)
        crafted = craft(attack, seen, x, y, threat, asked.random_seed, passes=passes)
        scored = scoring.score(model, x, crafted.x_adv, y, repeats)
        return Found(
            metrics=accuracies(scored),
            weights=trained.record.weights or "",
            columns=vars(scored),
            artifact=to_npz({"x_adv": crafted.x_adv.numpy().astype(np.float32)}),
            device=device_of(model),
            forward=crafted.forward,
            gradient=crafted.gradient,
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """What the attack declares, and two passes to score."""
        return attack_passes(context, self.identity.attack.name, self.identity.attack.params)


def runnable(context: TaskContext, name: str, params: Mapping[str, Any], seen: nn.Module) -> Attack:
    """An attack that can be run on the model it sees, under the protocol.

    Raises:
        Unsupported: It cannot.
    """
    provided, norm = context.registry.get("attack", name), context.protocol.norm
    spec, model = provided.spec, context.provided.spec
    if norm not in spec.norms:
        raise Unsupported(f"{name} cannot be bounded in {norm}")
    if spec.gradient and not model.differentiable:
        raise Unsupported(f"{name} needs gradients, which {model.name} does not give")
    engine = getattr(seen, "engine", None)
    if spec.gradient and isinstance(engine, Engine) and not engine.differentiable:
        raise Unsupported(
            f"{name} needs gradients, which engine {engine.name} does not give: attack the ideal "
            "simulator instead (--craft-on ideal)"
        )
    attack: Attack = provided.create(**params)
    return attack


def attack_passes(context: TaskContext, name: str, params: Mapping[str, Any]) -> tuple[int, int]:
    """Images that an attack declares to pass through the model, and those it differentiates."""
    try:
        attack = context.registry.get("attack", name).create(**params)
    except QbenchError:  # the task itself will say why
        attack = None
    forward, gradient = getattr(attack, "passes", (0, 0))
    n = context.task.identity.data.images
    return (forward + 2) * n, gradient * n


def accuracies(scored: scoring.Scored) -> AccuracyMetrics:
    """The metrics of scored images."""
    return AccuracyMetrics(
        clean_accuracy=scored.clean_accuracy,
        adversarial_accuracy=scored.adversarial_accuracy,
        robust_accuracy=scored.robust_accuracy,
    )
