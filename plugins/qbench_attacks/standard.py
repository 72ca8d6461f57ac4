"""The standard ensemble, composed as AutoAttack is (Croce and Hein 2020, Sec. 5)."""

from __future__ import annotations

from qbench_attacks.apgd import APGD, APGDTargeted
from qbench_attacks.base import Search, SearchAttack
from qbench_attacks.fab import FAB
from qbench_attacks.losses import margin
from qbench_attacks.square import Square


class Standard(SearchAttack):
    """APGD-CE, APGD-DLR, APGD-T, FAB and Square; the worst of them for each image.

    AutoAttack's list and, between its first and its second, untargeted APGD-DLR, as in its longer
    version: on circuits it breaks a few images that targeted DLR does not.

    An image that is misclassified, or broken by one part, is dropped from the parts after it. Every
    part starts from the same state of the generator, so it does to the images that are left what
    it does when run alone with the same seed and parameters.

    Args:
        apgd_steps: Steps of APGD-CE, of APGD-DLR and, for each class, of APGD-T.
        apgd_restarts: Random starts of APGD-CE and APGD-DLR.
        fab_steps: Steps of FAB for each class.
        queries: Queries of Square.
        targets: Classes that APGD-T and FAB try, best clean score first; all but the label when
            absent.
        untargeted_dlr: Whether APGD-DLR takes part; without it the list is AutoAttack's.
    """

    def __init__(
        self,
        *,
        apgd_steps: int = 100,
        apgd_restarts: int = 1,
        fab_steps: int = 50,
        queries: int = 1000,
        targets: int | None = None,
        untargeted_dlr: bool = True,
    ) -> None:
        self.rank = margin
        dlr = [APGD(loss="dlr", steps=apgd_steps, restarts=apgd_restarts)] if untargeted_dlr else []
        self.parts: tuple[APGD | FAB | Square, ...] = (
            APGD(steps=apgd_steps, restarts=apgd_restarts),
            *dlr,
            APGDTargeted(steps=apgd_steps, targets=targets),
            FAB(steps=fab_steps, targets=targets),
            Square(queries=queries),
        )

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated, at most."""
        costs = [part.passes for part in self.parts]
        return 1 + sum(forward for forward, _ in costs), sum(gradient for _, gradient in costs)

    def run(self, search: Search) -> None:
        """One part after the other, each on the images that still stand."""
        state = search.generator.get_state()
        search.visit(search.x)
        for part in self.parts:
            standing = ~search.fooled
            if not bool(standing.any()):
                return
            search.generator.set_state(state)
            part.run(search.only(standing))
