"""Transfer: a model on the images that an attack made for another one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qbench.errors import Unsupported
from qbench.evaluation import scoring
from qbench.evaluation.attack import accuracies
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of, done
from qbench.records.columns import from_npz
from qbench.records.identity import TransferId


@dataclass(frozen=True, kw_only=True)
class TransferTask(Task):
    """Score images made for another model. Needs the target's training and that attack."""

    identity: TransferId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Score the other model's adversarial images."""
        trained = context.trained(inputs)
        attacked = done(inputs[self.needs[1]])
        if attacked.artifact is None:
            raise Unsupported("the images of the attack were not kept")
        model = context.model(trained)
        x_adv = torch.from_numpy(from_npz(attacked.artifact, "adversarial images")["x_adv"])
        _, repeats = context.passes_and_repeats(model)
        # Asked here and in one batch: they can lower a worst case alone, and there are many.
        scored = scoring.score(model, context.split.x, x_adv, context.split.y, repeats)
        columns = {
            name: column for name, column in vars(scored).items() if name not in ("linf", "l2")
        }
        return Found(
            metrics=accuracies(scored),
            weights=trained.record.weights or "",
            columns=columns,
            device=device_of(model),
            forward=2 * repeats * len(x_adv),
        )

    def passes(self, context: TaskContext) -> tuple[int, int]:
        """Two passes to score."""
        return 2 * self.identity.data.images, 0
