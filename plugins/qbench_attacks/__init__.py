"""First-party attacks, native and without dependencies beyond torch."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec, Norm

_BOTH: tuple[Norm, ...] = ("linf", "l2")


@hookimpl
def qbench_attacks() -> Iterable[AttackSpec]:
    """Gradient attacks, minimum-norm attacks, query attacks and the standard ensemble of them."""
    yield AttackSpec(
        name="pgd",
        description="projected gradient descent (Madry et al. 2018) on cross-entropy",
        factory="qbench_attacks.gradient:PGD",
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="fgsm",
        description="fast gradient (sign) method (Goodfellow et al. 2015): one full step",
        factory="qbench_attacks.gradient:FGSM",
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="mifgsm",
        description="momentum iterative FGSM (Dong et al. 2018)",
        factory="qbench_attacks.gradient:MIFGSM",
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="mask-fgsm",
        description="FGSM on the pixels of largest gradient alone (Zhang et al. 2025)",
        factory="qbench_attacks.gradient:MaskFGSM",
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="universal",
        description="one perturbation for all images (Moosavi-Dezfooli et al. 2017), by ascent",
        factory="qbench_attacks.universal:Universal",
        norms=_BOTH,
        gradient=True,
    )
    yield AttackSpec(
        name="apgd-ce",
        description="Auto-PGD (Croce and Hein 2020) on cross-entropy",
        factory="qbench_attacks.apgd:APGD",
        params={"loss": "ce"},
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="apgd-dlr",
        description="Auto-PGD (Croce and Hein 2020) on the difference of logits ratio",
        factory="qbench_attacks.apgd:APGD",
        params={"loss": "dlr"},
        norms=_BOTH,
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="apgd-t",
        description="Auto-PGD (Croce and Hein 2020) on targeted DLR, towards every other class",
        factory="qbench_attacks.apgd:APGDTargeted",
        norms=_BOTH,
        gradient=True,
    )
    yield AttackSpec(
        name="fab",
        description="fast adaptive boundary (Croce and Hein 2020): smallest distance, every class",
        factory="qbench_attacks.fab:FAB",
        norms=_BOTH,
        gradient=True,
    )
    yield AttackSpec(
        name="deepfool",
        description="DeepFool (Moosavi-Dezfooli et al. 2016): steps to the nearest linear boundary",
        factory="qbench_attacks.deepfool:DeepFool",
        norms=_BOTH,
        gradient=True,
    )
    yield AttackSpec(
        name="ddn",
        description="decoupled direction and norm (Rony et al. 2019): smallest ℓ2 distance",
        factory="qbench_attacks.ddn:DDN",
        norms=("l2",),
        gradient=True,
        targeted=True,
    )
    yield AttackSpec(
        name="square",
        description="Square attack (Andriushchenko et al. 2020): random search, scores only",
        factory="qbench_attacks.square:Square",
        norms=_BOTH,
        gradient=False,
        targeted=True,
    )
    yield AttackSpec(
        name="spsa",
        description="SPSA (Uesato et al. 2018): gradients estimated from scores",
        factory="qbench_attacks.spsa:SPSA",
        norms=_BOTH,
        gradient=False,
        targeted=True,
    )
    yield AttackSpec(
        name="hopskipjump",
        description="HopSkipJump (Chen et al. 2020): decision-based, sees labels only",
        factory="qbench_attacks.hopskipjump:HopSkipJump",
        norms=_BOTH,
        gradient=False,
    )
    yield AttackSpec(
        name="amplitude-exact",
        description="exact smallest ℓ2 distance for amplitude models (a one-constraint QCQP)",
        factory="qbench_attacks.amplitude:AmplitudeExact",
        norms=("l2",),
        gradient=False,
    )
    yield AttackSpec(
        name="standard",
        description="worst of AutoAttack's list, restarts and, where gradients fail, others",
        factory="qbench_attacks.standard:Standard",
        norms=_BOTH,
        gradient=False,  # it uses one where there is one
        revision=2,
    )
