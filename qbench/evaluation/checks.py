"""Checks of a model: fixed probes for signs that attacks on it overstate its robustness.

The probes are those of Carlini et al. 2019 (*On Evaluating Adversarial Robustness*,
arXiv:1902.06705) and Pintor et al. 2022 (*Indicators of Attack Failure*, arXiv:2106.09947). They
depend on the model and the protocol alone, never on what else is run; what their numbers mean is
said by the report (`report.flags`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from qbench.datasets.base import Split
from qbench.evaluation.attack import attack_passes, runnable
from qbench.evaluation.crafting import craft, frozen
from qbench.evaluation.scoring import predict, score
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of
from qbench.records.identity import ChecksId
from qbench.records.record import ChecksMetrics
from qbench.registry import Scalar
from qbench.specs import ThreatModel

REVISION = 1  # raised when the probes change
IMAGES = 100  # how many images are probed
MORE_STEPS = 2  # times as many
MORE_RESTARTS = 3  # in addition


@dataclass(frozen=True, kw_only=True)
class ChecksTask(Task):
    """Probe a model. Needs the training."""

    identity: ChecksId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Measure every probe that applies to the model."""
        trained = context.trained(inputs)
        model = context.model(trained)
        few = Split(context.split.x[:IMAGES], context.split.y[:IMAGES])
        values, forward, gradient = {"unstable_outputs": _unstable(model, few)}, 2 * len(few.y), 0
        engine = getattr(model, "engine", None)
        gives = context.provided.spec.differentiable and getattr(engine, "differentiable", True)
        if gives and not (self.identity.engine and self.identity.engine.attacked == "ideal"):
            values["zero_gradients"] = _zero_gradients(model, few)
            for name, (params, threat) in _probes(context, few).items():
                assert context.protocol.first_attack is not None
                attack = runnable(context, context.protocol.first_attack, params, model)
                seed = self.identity.random_seed
                crafted = craft(attack, model, few.x, few.y, threat, seed)
                values[name] = score(model, few.x, crafted.x_adv, few.y).robust_accuracy
                forward, gradient = forward + crafted.forward, gradient + crafted.gradient
        classes = predict(model, few.x[:1]).shape[1]
        return Found(
            metrics=ChecksMetrics(images=len(few.y), chance=1 / classes, values=values),
            weights=trained.record.weights or "",
            device=device_of(model),
            forward=forward,
            gradient=gradient + len(few.y),
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """The probes with the protocol's first attack."""
        if context.protocol.first_attack is None:
            return 2 * IMAGES, 0
        params = context.protocol.attack_params(
            context.protocol.first_attack, context.protocol.ranking_eps
        )
        forward, gradient = attack_passes(context, context.protocol.first_attack, params)
        few = min(1.0, IMAGES / self.identity.data.images)
        times = 2 + MORE_STEPS + 1 + MORE_RESTARTS
        return int(times * forward * few), int(times * gradient * few)


def _probes(context: TaskContext, few: Split) -> dict[str, tuple[dict[str, Scalar], ThreatModel]]:
    """Parameters and threat model of each probe by the protocol's first attack."""
    protocol, name = context.protocol, context.protocol.first_attack
    if name is None or name not in context.registry.all("attack"):
        return {}
    provided = context.registry.get("attack", name)
    if protocol.norm not in provided.spec.norms or not provided.spec.gradient:
        return {}
    params = provided.resolved(protocol.attack_params(name, protocol.ranking_eps))
    threat = protocol.threat_model(protocol.ranking_eps)
    everywhere = replace(threat, eps=_whole_box(threat, few))
    probes = {"base": (params, threat), "large_eps": (params, everywhere)}
    if isinstance(steps := params.get("steps"), int):
        probes["more_steps"] = ({**params, "steps": MORE_STEPS * steps}, threat)
    if isinstance(restarts := params.get("restarts"), int):
        probes["more_restarts"] = ({**params, "restarts": MORE_RESTARTS + restarts}, threat)
    return probes


def _unstable(model: nn.Module, split: Split) -> float:
    """Share of images whose scores differ between two passes."""
    first, second = predict(model, split.x), predict(model, split.x)
    return float((first != second).any(1).double().mean())


def _zero_gradients(model: nn.Module, split: Split) -> float:
    """Share of images at which the loss has no gradient, or one that is no number."""
    x = split.x.clone().requires_grad_()
    with frozen(model):
        scores = model(x.clone())
        if not scores.requires_grad:
            return 1.0
        (gradient,) = torch.autograd.grad(cross_entropy(scores, split.y, reduction="sum"), x)
    usable = gradient.isfinite().all(1) & (gradient != 0).any(1)
    return float((~usable).double().mean())


def _whole_box(threat: ThreatModel, split: Split) -> float:
    """A budget within which every image can become every other one."""
    low, high = threat.box or (0.0, 1.0)
    features = split.x.shape[1]
    return (high - low) * (1.0 if threat.norm == "linf" else math.sqrt(features))
