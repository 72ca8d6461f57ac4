"""Checks of a model: what must hold of its scores and gradients before an attack says anything.

An attack by gradients finds nothing where gradients vanish, are no numbers, or belong to another
function than the scores; a prediction means nothing that depends on what else is in the batch, or
on how often the model was called. Each check measures the share of images, or of ways to call the
model, where something does not hold; what the numbers mean is said by the report (`report.flags`).
The checks depend on the model and the protocol alone, never on what else is run.

Sources: Carlini et al. 2019, *On Evaluating Adversarial Robustness*, arXiv:1902.06705; Pintor et
al. 2022, *Indicators of Attack Failure*, arXiv:2106.09947.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qbench.datasets.base import Split
from qbench.engines.modules import engine_of
from qbench.evaluation.attack import attack_passes, runnable
from qbench.evaluation.crafting import checked_scores, craft, frozen
from qbench.evaluation.scoring import margins, score
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of
from qbench.process_state import ProcessState
from qbench.provided import Scalar
from qbench.records.identity import ChecksId
from qbench.records.record import ChecksMetrics
from qbench.specs import ThreatModel
from qbench.weights.files import fingerprint

REVISION = 3  # raised when the checks change
IMAGES = 100  # how many images are looked at
PASSES = 8  # over the same images, to see how far scores vary
BOXED = 40  # images that are attacked within the whole box
SINGLY = 20  # images that are asked one at a time
JITTER = 0.02  # images are moved so far at random: exactly on a kink, no gradient is the right one
SAME = 1e-4  # of the scores' scale: closer ones are the same in every batch and precision
NOISE = 6.0  # standard deviations that are put down to randomness
FLAT = 1e-6  # of the scores' scale: what ε in every pixel must move a margin by, to first order
STEPS = (3e-4, 1e-3, 3e-3, 1e-2)  # of finite differences, in pixel units
AGREE = 0.15  # relative difference between a finite difference and a gradient
ROUNDING = 2e-6  # of the scores' scale: what is left of it in a difference of two scores


@dataclass(frozen=True, kw_only=True)
class ChecksTask(Task):
    """Check a model. Needs the training."""

    identity: ChecksId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Measure everything that applies to the model."""
        trained = context.trained(inputs)
        before = ProcessState.now()
        model = context.model(trained)
        few = Split(context.split.x[:IMAGES], context.split.y[:IMAGES])
        engine = engine_of(model)
        differentiable = engine is None or engine.differentiable
        differentiable = differentiable and context.provided.spec.differentiable
        if self.identity.engine and self.identity.engine.attacked == "ideal":
            differentiable = False
        values = check(model, few, context.protocol.ranking_eps, gradients=differentiable)
        settings, code = before.restore()
        changed = context.registry.changed(context.provided.plugin)
        values["settings_changed"] = float(bool(settings or changed.settings))
        values["code_changed"] = float(bool(code or changed.code))
        forward, gradient = FORWARD * len(few.y), len(few.y)
        gives = values.get("no_gradient", 1.0) < 1
        probe = _whole_box(context, few) if gives else None
        if probe is not None:
            name, params, threat = probe
            attack = runnable(context, name, params, model)
            x, y = few.x[:BOXED], few.y[:BOXED]
            crafted = craft(attack, model, x, y, threat, self.identity.random_seed)
            values["large_eps"] = score(model, x, crafted.x_adv, y).robust_accuracy
            forward, gradient = forward + crafted.forward, gradient + crafted.gradient
        with torch.no_grad():
            classes = model(few.x[:1].clone()).shape[1]
        return Found(
            metrics=ChecksMetrics(images=len(few.y), chance=1 / classes, values=values),
            weights=trained.record.weights or "",
            device=device_of(model),
            forward=forward,
            gradient=gradient,
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """The checks, and the protocol's first attack once."""
        few = min(IMAGES, self.identity.data.images)
        name = context.protocol.first_attack
        if name is None:
            return FORWARD * few, few
        params = context.protocol.attack_params(name, context.protocol.ranking_eps)
        forward, gradient = attack_passes(context, name, params)
        share = min(BOXED, few) / self.identity.data.images
        return FORWARD * few + int(forward * share), few + int(gradient * share)


FORWARD = PASSES + 10 + 4 * len(STEPS)  # passes over the images, about


def check(
    model: nn.Module, split: Split, eps: float, *, gradients: bool = True
) -> dict[str, float]:
    """What does not hold of a model, as shares in [0, 1].

    Args:
        model: It is called on copies of the images, in evaluation mode.
        split: Images and labels to look at.
        eps: The budget by which a flat margin is told.
        gradients: Whether scores are said to have gradients.

    Returns:
        `not_finite`: images whose scores are no numbers. `unstable_outputs`: images whose scores
        differ between passes. `batch_dependence`: images whose scores are others alone, in
        another order or beside other images. `call_dependence`: images whose scores are others
        with or without gradients, or in double precision. `input_changed`, `state_changed`,
        `mode_changed`: 1 where the model changes its input, its own parameters and buffers, or
        leaves evaluation mode. `low_precision`: 1 for scores of less than single precision.

        With `gradients`, `no_gradient`: 1 where scores do not depend on the images as far as
        torch can tell; and of the images, `bad_gradients`: some derivative of the margin is no
        number; `flat_gradients`: none is large enough to matter within ε; `wrong_gradients`:
        finite differences of the margin say otherwise.

    Raises:
        VerificationError: The scores have no shape (n, classes).
    """
    with frozen(model):
        found = _scores(model, split, gradients)
        if gradients:
            found |= _gradients(model, split, eps)
    return found


def _scores(model: nn.Module, split: Split, gradients: bool) -> dict[str, float]:
    x, before = split.x, fingerprint(model.state_dict())
    given = x.clone()
    passes = [_asked(model, given)] + [_asked(model, x.clone()) for _ in range(PASSES - 1)]
    input_changed = not torch.equal(given, x)
    first, every = passes[0], torch.stack(passes)
    finite = first.isfinite().all(1)
    slack = _slack(every)

    def differ(scores: Tensor, rows: Tensor) -> Tensor:
        apart = ~((scores - first[rows]).abs().amax(1) <= slack)
        changed = torch.zeros(len(x), dtype=torch.bool)
        changed[rows] = apart
        return changed & finite

    everyone = torch.arange(len(x))
    reverse, half = everyone.flip(0), everyone[: (len(x) + 1) // 2]
    alone = everyone[:: max(1, len(x) // SINGLY)]
    twice = torch.cat([everyone[:1], everyone])  # one more image, and everything one place later
    batches = torch.stack(
        [
            differ(_asked(model, x[reverse]), reverse),
            differ(_asked(model, x[half]), half),
            differ(_asked(model, x[twice])[1:], everyone),
            differ(torch.cat([_asked(model, x[i : i + 1]) for i in alone.tolist()]), alone),
        ]
    ).any(0)
    calls = [differ(scores, everyone) for scores in _called_otherwise(model, x, gradients)]
    none = torch.zeros(len(x), dtype=torch.bool)
    with torch.no_grad():
        raw = model(x[:1].clone())
    return {
        "not_finite": _share(~finite),
        "unstable_outputs": _share((every != first).any(2).any(0) & finite),
        "batch_dependence": _share(batches),
        "call_dependence": _share(torch.stack([none, *calls]).any(0)),
        "input_changed": float(input_changed),
        "state_changed": float(fingerprint(model.state_dict()) != before),
        "mode_changed": float(any(module.training for module in model.modules())),
        "low_precision": float(raw.dtype in (torch.float16, torch.bfloat16)),
    }


def _called_otherwise(model: nn.Module, x: Tensor, gradients: bool) -> list[Tensor]:
    """Scores in the other ways in which training, attacks and scoring may call a model."""
    found = []
    if gradients:
        found.append(_asked(model, x.clone(), grad=True))
        found.append(_asked(model, x.clone().requires_grad_().clone(), grad=True))
    with suppress(RuntimeError):  # many models take no double precision, which is their right
        found.append(_asked(model, x.double()))
    return found


def _gradients(model: nn.Module, split: Split, eps: float) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    jitter = JITTER * (2 * torch.rand(split.x.shape, generator=generator) - 1)
    edge = JITTER + STEPS[-1]  # every pixel is moved, and none is cut off at the box
    x = edge + (1 - 2 * edge) * split.x + jitter.to(split.x.dtype)
    leaf = x.clone().requires_grad_()
    scores = checked_scores(model(leaf.clone()), len(x))
    if not scores.requires_grad:
        return {"no_gradient": 1.0, "bad_gradients": 0.0, "flat_gradients": 1.0}
    margin = margins(scores, split.y)
    (gradient,) = torch.autograd.grad(margin.sum(), leaf)
    gradient, detached = gradient.double(), scores.detach().double()
    scale = _scale(detached)
    bad = ~gradient.isfinite().all(1)
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    flat = gradient.abs().sum(1) * eps <= FLAT * scale
    noise = torch.stack([_margin(model, x, split.y) for _ in range(2)])
    spread = float((noise[0] - noise[1]).abs().max())
    signs = torch.where(torch.rand(x.shape, generator=generator) < 0.5, -1.0, 1.0).to(x.dtype)
    steepest = gradient.sign().to(x.dtype)
    wrong = torch.zeros(len(x), dtype=torch.bool)
    for direction in (steepest, signs):
        slope, agrees = (gradient * direction).sum(1), torch.zeros_like(wrong)
        for h in STEPS:
            ahead = _margin(model, x + h * direction, split.y)
            behind = _margin(model, x - h * direction, split.y)
            difference = (ahead - behind) / (2 * h)
            # In a random direction the slope is near 0: the steepest one tells what is large.
            steep = gradient.abs().sum(1) / 4
            size = torch.maximum(torch.maximum(slope.abs(), difference.abs()), steep)
            allowed = AGREE * size + (ROUNDING * scale + NOISE * spread) / h
            agrees |= (slope - difference).abs() <= allowed
        wrong |= ~agrees
    return {
        "no_gradient": 0.0,
        "bad_gradients": _share(bad),
        "flat_gradients": _share(flat & ~bad),
        "wrong_gradients": _share(wrong & ~bad),
    }


def _asked(model: nn.Module, x: Tensor, *, grad: bool = False) -> Tensor:
    with torch.set_grad_enabled(grad):
        return checked_scores(model(x), len(x)).detach().double()


def _margin(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return margins(_asked(model, x.clone()), y)


def _scale(scores: Tensor) -> float:
    """How far apart finite scores lie: no shift of them changes it."""
    finite = scores[scores.isfinite()]
    return float(finite.max() - finite.min()) if len(finite) else 0.0


def _slack(passes: Tensor) -> float:
    """How far scores may be apart and count as the same, given those of several passes."""
    spread = passes.nan_to_num(0.0, 0.0, 0.0).std(0).max()
    return SAME * max(_scale(passes), 1e-30) + NOISE * float(spread)


def _share(images: Tensor) -> float:
    return float(images.double().mean())


def _whole_box(
    context: TaskContext, few: Split
) -> tuple[str, Mapping[str, Scalar], ThreatModel] | None:
    """The protocol's first attack where every image can become every other one."""
    protocol, name = context.protocol, context.protocol.first_attack
    if name is None or name not in context.registry.all("attack"):
        return None
    provided = context.registry.get("attack", name)
    if protocol.norm not in provided.spec.norms or not provided.spec.gradient:
        return None
    threat = context.threat_model(protocol.ranking_eps)
    low, high = threat.box or (0.0, 1.0)
    side = 1.0 if threat.norm == "linf" else math.sqrt(few.x.shape[1])
    params = provided.resolved(protocol.attack_params(name, protocol.ranking_eps))
    return name, params, replace(threat, eps=(high - low) * side)
