"""The diagnosis stage: signs that an evaluation overstates robustness.

The checks are those of Carlini et al. 2019 (*On Evaluating Adversarial Robustness*,
arXiv:1902.06705) and Pintor et al. 2022 (*Indicators of Attack Failure*, arXiv:2106.09947): they
raise a flag, they do not change a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from qbench.crafting import craft, frozen
from qbench.datasets.base import Split
from qbench.interfaces import Attack
from qbench.records import DiagnosisMetrics, Flag
from qbench.scoring import predict, score
from qbench.specs import ThreatModel

IMAGES = 100  # how many images are probed again
MORE_STEPS = 2  # times as many
MORE_RESTARTS = 3  # in addition
TOLERANCE = 0.01  # one point of accuracy


@dataclass(frozen=True)
class Evidence:
    """Which images (n,) of the target survived one attack.

    Args:
        attack: The attack's label.
        eps: Its budget.
        gradient: Whether it uses the gradients of the model it is made for.
        source: The model it was made for, None for the target itself.
        robust: Classified correctly both clean and attacked.
    """

    attack: str
    eps: float
    gradient: bool
    source: str | None
    robust: NDArray[np.bool_]

    def is_of(self, attack: str | None, eps: float) -> bool:
        """Whether it is what an attack at a budget did to the target itself."""
        return (self.attack, self.eps, self.source) == (attack, eps, None)


@dataclass(frozen=True)
class Diagnosis:
    """Flags, the numbers behind them, and what probing cost."""

    flags: tuple[Flag, ...]
    metrics: DiagnosisMetrics
    forward: int
    gradient: int


def diagnose(
    model: nn.Module,
    split: Split,
    evidence: Sequence[Evidence],
    threat: ThreatModel,
    attack: Callable[..., Attack] | None,
    label: str | None,
    params: Mapping[str, Any],
    seed: int,
    *,
    time_limit_s: float,
) -> Diagnosis:
    """Look for signs that the attacks on a model were too weak.

    Args:
        model: The target.
        split: The protocol's images.
        evidence: What the attacks left standing, and what transferred images did.
        threat: The threat model at the ranking budget.
        attack: Makes the white-box attack to probe with, from changed parameters; None if the
            model gives no gradients.
        label: That attack's label: the evidence it left is what its probes are held against.
        params: Its parameters; those named `steps` and `restarts` are raised.
        seed: Of the probing.
        time_limit_s: How long each probe may take.
    """
    few = Split(split.x[:IMAGES], split.y[:IMAGES])
    values: dict[str, float] = {"unstable_outputs": _unstable(model, few)}
    forward = gradient = 0
    if attack is not None:
        values["zero_gradients"] = _zero_gradients(model, few)
        gradient += len(few.y)
        everywhere = replace(threat, eps=_whole_box(threat, few))
        probes: dict[str, tuple[dict[str, int], ThreatModel]] = {"large_eps": ({}, everywhere)}
        base = [one.robust[:IMAGES].mean() for one in evidence if one.is_of(label, threat.eps)]
        if base:
            values["base"] = float(base[0])
            if "steps" in params:
                probes["more_steps"] = ({"steps": MORE_STEPS * params["steps"]}, threat)
            if "restarts" in params:
                probes["more_restarts"] = ({"restarts": MORE_RESTARTS + params["restarts"]}, threat)
        for name, (changed, budget) in probes.items():
            crafted = craft(
                attack(**changed), model, few.x, few.y, budget, seed, time_limit_s=time_limit_s
            )
            values[name] = score(model, few.x, crafted.x_adv, few.y).robust_accuracy
            forward, gradient = forward + crafted.forward, gradient + crafted.gradient
    classes = predict(model, few.x[:1]).shape[1]
    metrics = DiagnosisMetrics(images=len(few.y), chance=1 / classes, values=values)
    flags = [*_from_probes(metrics), *_from_evidence(evidence, threat.eps)]
    return Diagnosis(tuple(sorted(set(flags))), metrics, forward, gradient)


def _from_probes(metrics: DiagnosisMetrics) -> list[Flag]:
    values, flags = metrics.values, list[Flag]()
    if values["unstable_outputs"] > 0:
        flags.append("unstable-outputs")
    if values.get("zero_gradients", 0) > 0.1:
        flags.append("zero-gradients")
    if values.get("large_eps", 0) > metrics.chance + TOLERANCE:
        flags.append("large-eps-not-chance")
    base = values.get("base", 0.0)
    if values.get("more_steps", base) > base + TOLERANCE:
        flags.append("steps-not-monotone")
    if values.get("more_restarts", base) < base - TOLERANCE:
        flags.append("restarts-gain")
    return flags


def _from_evidence(evidence: Sequence[Evidence], ranking_eps: float) -> list[Flag]:
    flags = list[Flag]()
    own = [one for one in evidence if one.source is None]
    for eps in {one.eps for one in own}:
        white = [one.robust.mean() for one in own if one.eps == eps and one.gradient]
        black = [one.robust.mean() for one in own if one.eps == eps and not one.gradient]
        moved = [one.robust.mean() for one in evidence if one.source and one.eps == eps]
        if white and black and min(black) < min(white) - TOLERANCE:
            flags.append("black-box-stronger")
        if white and moved and eps == ranking_eps and min(moved) < min(white) - TOLERANCE:
            flags.append("transfer-stronger")
    for label in {one.attack for one in own}:
        rising = sorted((one.eps, one.robust.mean()) for one in own if one.attack == label)
        accuracies = [accuracy for _, accuracy in rising]
        if any(b > a + TOLERANCE for a, b in pairwise(accuracies)):
            flags.append("eps-not-monotone")
    return flags


def _unstable(model: nn.Module, split: Split) -> float:
    """Share of images whose scores differ between two passes."""
    first, second = predict(model, split.x), predict(model, split.x)
    return float((first != second).any(1).double().mean())


def _zero_gradients(model: nn.Module, split: Split) -> float:
    """Share of images at which the loss has no gradient at all."""
    x = split.x.clone().requires_grad_()
    with frozen(model):
        scores = model(x)
        if not scores.requires_grad:
            return 1.0
        (gradient,) = torch.autograd.grad(cross_entropy(scores, split.y, reduction="sum"), x)
    return float((gradient == 0).all(1).double().mean())


def _whole_box(threat: ThreatModel, split: Split) -> float:
    """A budget within which every image can become every other one."""
    low, high = threat.box or (0.0, 1.0)
    features = split.x.shape[1]
    return (high - low) * (1.0 if threat.norm == "linf" else math.sqrt(features))
