"""Images that fool models of the zoo, tried on the model under attack."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

import qbench
from qbench.errors import QbenchError
from qbench_attacks.apgd import APGD
from qbench_attacks.base import Search, SearchAttack, at_least
from qbench_attacks.losses import margin

SOURCES = ("convnet", "fourier", "reup")  # one of each kind: network, kernel features, circuit


@cache
def source(name: str) -> nn.Module | None:
    """A trained model of the zoo, frozen; None where there is none."""
    try:
        model = qbench.load_model(name, seed=0)
    except QbenchError:
        return None
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


class Transferred(SearchAttack):
    """Auto-PGD on the margin of models of the zoo; the model under attack is asked once for each.

    What gradients of the model itself do not find where they vanish, those of another model of the
    same task may (Papernot et al. 2017). A source that takes other images or knows other classes is
    left out.

    Args:
        sources: Names of models, as `qbench models` lists them.
        steps: Steps on each.
    """

    def __init__(self, *, sources: tuple[str, ...] = SOURCES, steps: int = 50) -> None:
        at_least("steps", steps, 1)
        self.sources, self.rank = sources, margin
        self.ascent = APGD(loss="margin", steps=steps)

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, at most, and none differentiated."""
        return 1 + len(self.sources), 0

    def run(self, search: Search) -> None:
        """Make images on every source and try them."""
        if not len(search):
            return
        classes = search.visit(search.x).shape[1]
        for name in self.sources:
            model = source(name)
            if model is not None and _classes(model, search.x) == classes:
                search.visit(self._made_on(model, search))

    def _made_on(self, model: nn.Module, search: Search) -> Tensor:
        precision = next(model.parameters()).dtype
        x = search.x.to(precision)
        made = Search(model, x, search.y, search.threat, search.generator, rank=margin)
        self.ascent.run(made)
        return made.kept.to(search.x.dtype)


def _classes(model: nn.Module, x: Tensor) -> int | None:
    """How many classes a model tells apart; None where it does not take such images."""
    try:
        with torch.no_grad():
            scores: Tensor = model(x[:1].to(next(model.parameters()).dtype))
    except (RuntimeError, ValueError, QbenchError):
        return None
    return scores.shape[1]
