"""The standard ensemble: gradients, restarts, and what needs no gradient where they mislead."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qbench.errors import Unsupported
from qbench_attacks.apgd import APGD, APGDTargeted
from qbench_attacks.base import Search, SearchAttack, at_least
from qbench_attacks.fab import FAB
from qbench_attacks.hopskipjump import HopSkipJump
from qbench_attacks.losses import margin
from qbench_attacks.rounds import Rounds, clean_margins, share_left
from qbench_attacks.square import Square
from qbench_attacks.transferred import Transferred

_VANISHED = 0.05  # share of an image's gradients above which they are not relied on
_CLOSER = 0.05  # share of the clean margin that queries gain beyond gradients where those mislead


class Standard(SearchAttack):
    """The worst of several attacks for each image.

    1. AutoAttack's list (Croce and Hein 2020, Sec. 5) and untargeted APGD-DLR: APGD on rescaled
       cross-entropy, APGD-DLR, APGD-T and FAB. Losses look at the scores before a last step that
       flattens them, where there is one (see `tape`).
    2. `Rounds` of restarts on the images left near the boundary.
    3. A short Square attack, which sees scores only. Carlini et al. 2019 (Sec. 5) take it as a sign
       of misleading gradients when an attack without them does better than one with them.
    4. `Transferred`, a longer Square and HopSkipJump, on images whose gradients vanish (zero, not
       finite, or missing altogether) or mislead (Square came closer than they did).

    An image that is misclassified, or broken by one part, is dropped from the parts after it. Every
    part starts from the same state of the generator. Of a model without gradients the first two
    steps are left out.

    Args:
        apgd_steps: Steps of every ascent of steps 1 and 2.
        apgd_restarts: Random starts of APGD-CE and APGD-DLR.
        fab_steps: Steps of FAB for each class.
        probe: Queries of Square in step 3.
        queries: Queries of Square in step 4.
        jumps: Steps of HopSkipJump.
        targets: Classes that APGD-T and FAB try, best clean score first; all but the label when
            absent.
        patience, rounds: See `Rounds`.
        near: Share of the clean margin that an image may keep to be near the boundary: for APGD-T
            and FAB; half of it for `Rounds`.
    """

    inner = True

    def __init__(
        self,
        *,
        apgd_steps: int = 100,
        apgd_restarts: int = 1,
        fab_steps: int = 50,
        probe: int = 250,
        queries: int = 1000,
        jumps: int = 20,
        targets: int | None = None,
        patience: int = 3,
        rounds: int = 10,
        near: float = 0.5,
    ) -> None:
        at_least("probe", probe, 1)
        at_least("queries", queries, 1)
        self.rank, self.near = margin, near
        self.parts: tuple[SearchAttack, ...] = (
            APGD(loss="rescaled-ce", steps=apgd_steps, restarts=apgd_restarts),
            APGD(loss="dlr", steps=apgd_steps, restarts=apgd_restarts),
            APGDTargeted(steps=apgd_steps, targets=targets),
            FAB(steps=fab_steps, targets=targets),
        )
        self.restarts = Rounds(steps=apgd_steps, patience=patience, rounds=rounds, near=near / 2)
        self.probe = Square(queries=probe)
        self.without_gradients: tuple[SearchAttack, ...] = (
            Transferred(),
            Square(queries=queries),
            HopSkipJump(steps=jumps),
        )

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated, at most."""
        every = (*self.parts, self.restarts, self.probe, *self.without_gradients)
        costs = [part.passes for part in every]  # type: ignore[attr-defined]
        forward = 1 + sum(forward + 1 for forward, _ in costs)
        return forward, sum(gradient for _, gradient in costs)

    def run(self, search: Search) -> None:
        """One part after the other, each on the images that still stand."""
        state = search.generator.get_state()
        everywhere = torch.ones_like(search.fooled)
        clean = clean_margins(search, search.visit(search.x))
        blind = torch.zeros_like(search.fooled)
        try:
            blind |= _on_standing(search, self.parts[:2], everywhere, state)
            blind |= search.vanished > _VANISHED
            near = blind | (share_left(search, clean) <= self.near)
            blind |= _on_standing(search, self.parts[2:], near, state)
            blind |= search.vanished > _VANISHED
            blind |= _on_standing(search, [self.restarts], ~blind, state)
        except Unsupported:
            blind = everywhere
        before = share_left(search, clean)
        _on_standing(search, [self.probe], everywhere, state)
        blind |= share_left(search, clean) < before - _CLOSER
        _on_standing(search, self.without_gradients, blind, state)


def _on_standing(
    search: Search, parts: Sequence[SearchAttack], chosen: Tensor, state: Tensor
) -> Tensor:
    """Run parts on those of the chosen images (n,) that still stand, each from `state`.

    What a part breaks is asked about again, without a gradient, as it will be scored.

    Returns:
        (n,): images of which the model then said something else.
    """
    taken_back = torch.zeros_like(search.fooled)
    for part in parts:
        standing = (chosen & ~search.fooled).nonzero()[:, 0]
        if not len(standing):
            break
        search.generator.set_state(state)
        part.run(search.only(standing))
        taken_back[standing] |= search.only(standing).check_again()
    return taken_back
