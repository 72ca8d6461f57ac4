"""First-party attacks, native and without dependencies beyond torch."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec


@hookimpl
def qbench_attacks() -> Iterable[AttackSpec]:
    """Gradient attacks."""
    yield AttackSpec(
        name="pgd",
        description="projected gradient descent (Madry et al. 2018) on cross-entropy",
        factory="qbench_attacks.gradient:PGD",
        norms=("linf", "l2"),
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="fgsm",
        description="fast gradient (sign) method (Goodfellow et al. 2015): one full step",
        factory="qbench_attacks.gradient:FGSM",
        norms=("linf", "l2"),
        gradient=True,
        targeted=True,
    )
