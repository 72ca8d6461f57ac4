"""Robust accuracy: a model under one attack on itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from qbench.engines.modules import engine_of
from qbench.errors import QbenchError, Unsupported
from qbench.evaluation import scoring
from qbench.evaluation.crafting import Sample, craft
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of
from qbench.interfaces import Attack
from qbench.records.columns import to_npz
from qbench.records.identity import AttackId
from qbench.records.record import AccuracyMetrics

SAME = 1e-3  # of the scores' scale: closer ones are the same, in whatever batch they were computed
APART = 0.5  # of gradients, see `asked_again`: kinks of a network may change a part of one


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
        passes, repeats = context.passes_and_repeats(model)
        threat = context.threat_model(asked.eps)
        x, y = context.split.x, context.split.y
        crafted = craft(attack, seen, x, y, threat, asked.random_seed, passes=passes)
        scored = context.score(trained, model, crafted.x_adv, repeats)
        compare = context.alone and repeats == 1
        metrics = accuracies(scored).model_copy(
            update={
                "unusable_gradients": crafted.unusable / max(crafted.gradient, 1),
                **(asked_again(context.saved(trained), crafted.samples) if compare else {}),
            }
        )
        return Found(
            metrics=metrics,
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
    engine = engine_of(seen)
    if spec.gradient and engine is not None and not engine.differentiable:
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


def asked_again(saved: SavedModel, samples: Sequence[Sample]) -> dict[str, float]:
    """What an attack was told, against what the saved model says of the same images.

    Args:
        saved: The model, in a process of its own.
        samples: Questions of the attack, and the answers.

    Returns:
        Shares of the samples: `contradicted` of those whose scores differ, `wrong_gradients` of
        those whose gradient is another one.
    """
    if not samples:
        return {}
    asked = [s for s in samples if s.upstream is None or s.gradient is None]
    pulled = [s for s in samples if s.upstream is not None and s.gradient is not None]
    found, seed = {}, len(samples)
    told, again = [s.scores for s in (*asked, *pulled)], []
    if asked:
        again.append(saved.predictions(torch.stack([s.x for s in asked]), seed=seed)[0])
    if pulled:
        x = torch.stack([s.x for s in pulled])
        upstream = torch.stack([s.upstream for s in pulled if s.upstream is not None])
        scores, gradients = saved.differentiated(x, upstream, seed=seed)
        again.append(scores)
        given = torch.stack([s.gradient for s in pulled if s.gradient is not None]).double()
        # The sum of both lengths bounds the distance: 1 says that they have nothing in common.
        apart = (given - gradients).abs().sum(1) / (given.abs().sum(1) + gradients.abs().sum(1))
        wrong = ~(apart.nan_to_num(0.0) <= APART) | ~given.isfinite().all(1)
        found["wrong_gradients"] = float(wrong.double().mean())
    slack = SAME * max(float(torch.cat(again).abs().max()), 1e-30)
    differ = ~((torch.stack(told).double() - torch.cat(again)).abs().amax(1) <= slack)
    return {"contradicted": float(differ.double().mean()), **found}


def accuracies(scored: scoring.Scored) -> AccuracyMetrics:
    """The metrics of scored images."""
    return AccuracyMetrics(
        clean_accuracy=scored.clean_accuracy,
        adversarial_accuracy=scored.adversarial_accuracy,
        robust_accuracy=scored.robust_accuracy,
    )
