"""ART's evasion attacks as qbench attacks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from qbench.evaluation.crafting import frozen
from qbench.specs import ThreatModel
from qbench_art.isolated_rng import isolated_rng
from qbench_art.library import check_parameters, load_class, parameters

if TYPE_CHECKING:
    from qbench_art.classifier import Classifier


class ArtAttack:
    """An evasion attack of the adversarial-robustness-toolbox (Nicolae et al. 2018).

    What an attack bounded by ε returns is projected into the ball and the box. Of what any other
    attack returns (a near image that fools the model) the projection is kept where it still fools
    the model, and all other images stay clean.

    Args:
        cls: Name of the class in `art.attacks.evasion`, e.g. `"NewtonFool"`.
        relative_step: Step length in units of ε, for a class that takes `eps_step`.
        max_queries: Images passed through the model for each image attacked, at most: it ends
            attacks that would not end. One that works image by image leaves that image clean, one
            that works on a batch fails.
        params: Parameters of the class, by ART's names; lengths are in units of the box's width.
            `norm`, `eps`, `eps_step`, `targeted`, `batch_size`, `verbose` and ZOO's `nb_parallel`
            are filled in where they are not given.
    """

    def __init__(
        self,
        *,
        cls: str = "MomentumIterativeMethod",
        relative_step: float = 0.1,
        max_queries: int = 1_000_000,
        **params: Any,
    ) -> None:
        if max_queries < 1:
            raise ValueError(f"max_queries must be at least 1, got {max_queries}")
        self.cls, self.relative_step, self.max_queries = cls, relative_step, max_queries
        self.params = params

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat_model: ThreatModel,
        generator: torch.Generator,
    ) -> Tensor:
        """Adversarial images (n, features) for images x and labels y (see `interfaces.Attack`).

        Raises:
            Unsupported: ART is not installed, or the class cannot do what is asked of it.
            UnknownNameError: ART has no such class, or the class no such parameter.
            UsageError: The class refuses a parameter, or `max_queries` are used up.
            PluginError: ART failed.
            TimeoutExceededError: The model's time was up.
        """
        cls = load_class(self.cls)
        check_parameters(cls, self.params)
        if threat_model.eps == 0:
            return x.clone()  # many of ART's classes refuse such a budget
        # ART is imported here and not with this module: listing attacks must stay cheap.
        from qbench_art.run import Run

        with frozen(model), isolated_rng(generator):
            return Run(self, cls, model, x, y, threat_model).adversarial()

    def build(self, cls: type[Any], classifier: Classifier, threat: ThreatModel, n: int) -> Any:
        """ART's attack on batches of n images."""
        return cls(classifier, **self.arguments(cls, threat, n, math.prod(classifier.input_shape)))

    def arguments(
        self, cls: type[Any], threat: ThreatModel, n: int, features: int
    ) -> dict[str, Any]:
        """Parameters of the class: what follows from the threat model, then the caller's."""
        known = parameters(cls)
        filled: dict[str, Any] = {
            "norm": np.inf if threat.norm == "linf" else 2,
            "eps": threat.eps,
            "eps_step": self.relative_step * threat.eps,
            "targeted": threat.targeted,
            "batch_size": n,
            "verbose": False,
            "nb_parallel": min(features, 256),
        }
        if "norm" in known and known["norm"].default not in (np.inf, 2):
            del filled["norm"]  # another kind of norm altogether: Wasserstein's
        return {name: value for name, value in filled.items() if name in known} | self.params
