"""ART's AutoAttack, with a budget for each of its parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qbench.specs import ThreatModel
from qbench_art.attack import ArtAttack
from qbench_art.library import load_class

if TYPE_CHECKING:
    from qbench_art.classifier import Classifier


class ArtAutoAttack(ArtAttack):
    """ART's AutoAttack: APGD on two losses, DeepFool and Square, one after the other.

    It is another ensemble than AutoAttack (Croce and Hein 2020), which has FAB where this one has
    DeepFool. Images already broken are left to no later attack. APGD on the logit-ratio loss is
    left out under three classes, for which the loss is undefined, and Square where inputs are not
    square images.

    Args:
        steps: Steps of APGD and of DeepFool.
        restarts: Random starts of APGD.
        queries: Steps of Square.
        targeted: Also run APGD towards each of the wrong classes.
        relative_step: First step of APGD in units of ε.
        max_queries: See `ArtAttack`.
    """

    def __init__(
        self,
        *,
        steps: int = 50,
        restarts: int = 1,
        queries: int = 300,
        targeted: bool = True,
        relative_step: float = 2.0,
        max_queries: int = 1_000_000,
    ) -> None:
        super().__init__(
            cls="AutoAttack",
            relative_step=relative_step,
            max_queries=max_queries,
            targeted=targeted,
        )
        self.steps, self.restarts, self.queries = steps, restarts, queries

    def build(self, cls: type[Any], classifier: Classifier, threat: ThreatModel, n: int) -> Any:
        """ART's AutoAttack on batches of n images."""
        arguments = self.arguments(cls, threat, n, math.prod(classifier.input_shape))
        shared = {"norm": arguments["norm"], "eps": threat.eps, "batch_size": n, "verbose": False}
        apgd, deepfool, square = map(
            load_class, ("AutoProjectedGradientDescent", "DeepFool", "SquareAttack")
        )
        losses = ["cross_entropy", "difference_logits_ratio"]
        attacks = [
            apgd(
                classifier,
                eps_step=arguments["eps_step"],
                max_iter=self.steps,
                nb_random_init=self.restarts,
                loss_type=loss,
                **shared,
            )
            for loss in losses[: 1 if classifier.nb_classes < 3 else 2]
        ]
        attacks.append(
            deepfool(classifier, max_iter=self.steps, epsilon=1e-3, batch_size=n, verbose=False)
        )
        shape = classifier.input_shape
        if len(shape) == 3 and shape[1] == shape[2]:
            attacks.append(square(classifier, max_iter=self.queries, **shared))
        return cls(classifier, attacks=attacks, **arguments)
