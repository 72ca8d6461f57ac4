"""Attacks of the adversarial-robustness-toolbox (ART), where it is installed.

Every spec but `art-auto` is `attack.ArtAttack` with the name of ART's class and a budget: on 20
images of 16x16 pixels none takes more than a few seconds on one core. The parameters are ART's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec


@hookimpl
def qbench_attacks() -> Iterable[AttackSpec]:
    """ART's best-known attacks, and any other one by the name of its class.

    All can be bounded in both norms. Those that look for a near image do so in their own norm,
    and where the threat model's is another one, count only if the projection into its ball fools.
    """
    yield _art(
        "art-fgm",
        "ART's fast gradient method: one full step",
        targeted=True,
        cls="FastGradientMethod",
    )
    yield _art(
        "art-pgd",
        "ART's projected gradient descent from a random start",
        targeted=True,
        cls="ProjectedGradientDescent",
        max_iter=40,
        relative_step=2.5 / 40,
        num_random_init=1,
    )
    yield _art(
        "art-autopgd",
        "ART's APGD on cross-entropy (loss_type: cross_entropy or difference_logits_ratio)",
        targeted=True,
        cls="AutoProjectedGradientDescent",
        max_iter=50,
        relative_step=2.0,
        nb_random_init=1,
        loss_type="cross_entropy",
    )
    yield _art(
        "art-square",
        "ART's Square: random squares, scores only; images must be square",
        gradient=False,
        cls="SquareAttack",
        max_iter=500,
    )
    yield _art(
        "art-deepfool",
        "ART's DeepFool: near image in l2",
        cls="DeepFool",
        max_iter=50,
        epsilon=1e-3,
    )
    yield _art(
        "art-cw-l2",
        "ART's Carlini and Wagner attack: near image in l2",
        targeted=True,
        cls="CarliniL2Method",
        initial_const=1.0,
        learning_rate=0.1,
        max_iter=10,
    )
    yield _art(
        "art-cw-linf",
        "ART's Carlini and Wagner attack: near image in linf",
        cls="CarliniLInfMethod",
        initial_const=10.0,  # one value: ART's gradient leaves the constant out
        largest_const=11.0,
        decrease_factor=0.7,
        max_iter=100,
    )
    yield _art(
        "art-ead",
        "ART's ElasticNet: near image in l2 and a little l1",
        targeted=True,
        cls="ElasticNet",
        initial_const=1.0,
        learning_rate=0.1,
        max_iter=50,
    )
    yield _art(
        "art-boundary",
        "ART's Boundary: labels only, near image in l2 by a random walk",
        gradient=False,
        targeted=True,
        cls="BoundaryAttack",
        max_iter=300,
    )
    yield _art(
        "art-hopskipjump",
        "ART's HopSkipJump: labels only, near image in l2 or linf",
        gradient=False,
        targeted=True,
        cls="HopSkipJump",
        max_iter=40,
        max_eval=500,
    )
    yield _art(
        "art-zoo",
        "ART's ZOO: scores only, finite differences, near image in l2",
        gradient=False,
        targeted=True,
        cls="ZooAttack",
        initial_const=1.0,
        learning_rate=0.02,
        max_iter=100,
        binary_search_steps=5,
        use_resize=False,  # to 32x32 and more, also of smaller images
        use_importance=False,
    )
    yield AttackSpec(
        name="art-auto",
        description="ART's AutoAttack (APGD, DeepFool, Square): another ensemble than AutoAttack's",
        factory="qbench_art.ensemble:ArtAutoAttack",
        norms=("linf", "l2"),
        gradient=True,
    )
    # Whether it needs gradients depends on the class: one that does says so when it runs.
    yield _art(
        "art",
        "any evasion attack of ART, by the name of its class (cls) and the class's parameters",
        gradient=False,
        targeted=True,
        cls="MomentumIterativeMethod",
    )


def _art(
    name: str, description: str, *, gradient: bool = True, targeted: bool = False, **params: Any
) -> AttackSpec:
    return AttackSpec(
        name=name,
        description=description,
        factory="qbench_art.attack:ArtAttack",
        params=params,
        norms=("linf", "l2"),
        gradient=gradient,
        targeted=targeted,
    )
