"""Fresh images: whether a model does as well on images that nobody can have seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from qbench.evaluation import scoring
from qbench.evaluation.attack import attack_passes, runnable
from qbench.evaluation.crafting import craft
from qbench.evaluation.task import Found, Inputs, Task, TaskContext
from qbench.records.identity import FreshId
from qbench.records.record import FreshMetrics
from qbench.records.worst import correct_and_robust

REVISION = 2  # raised when what is done here changes

# As many as the images that are attacked: 400 for all of the glyphs. A difference of two shares is
# then uncertain by 1.22 times what the known images alone leave, and by 1.10 times for 1,000.
TIMES = 2


def how_many(known: int) -> int:
    """How many new images stand beside so many known ones."""
    return TIMES * known


@dataclass(frozen=True, kw_only=True)
class FreshTask(Task):
    """Attack a model on new images, and on the protocol's beside them. Needs the training."""

    identity: FreshId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """One attack on all images at once, so that both accuracies are found in one way."""
        asked, trained = self.identity, context.trained(inputs)
        make = context.dataset.fresh
        assert make is not None
        new, known = make(asked.images), context.split
        x, y = torch.cat([known.x, new.x]), torch.cat([known.y, new.y])
        model = context.model(trained)
        attack = runnable(context, asked.attack.name, asked.attack.params, model)
        passes, repeats = context.passes_and_repeats(model)
        threat = context.threat_model(asked.eps)
        crafted = craft(attack, model, x, y, threat, asked.random_seed, passes=passes)
        scored = scoring.score(model, x, crafted.x_adv, y, repeats)
        clean, robust = correct_and_robust(vars(scored))
        return Found(
            metrics=FreshMetrics(
                clean_accuracy=float(clean[len(known.y) :].mean()),
                robust_accuracy=float(robust[len(known.y) :].mean()),
                frozen_clean_accuracy=float(clean[: len(known.y)].mean()),
                frozen_robust_accuracy=float(robust[: len(known.y)].mean()),
            ),
            weights=trained.record.weights or "",
            forward=crafted.forward,
            gradient=crafted.gradient,
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """What the attack declares, for all the images."""
        params: Mapping[str, Any] = self.identity.attack.params
        forward, gradient = attack_passes(context, self.identity.attack.name, params)
        images = self.identity.data.images
        times = (images + self.identity.images) / images
        return int(times * forward), int(times * gradient)
