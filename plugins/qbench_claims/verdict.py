"""From measured quantities to a verdict, by the rules that a claim wrote down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qbench.records.bootstrap import RESAMPLES, margin95, resampled_means
from qbench.report.significance import image_weights, seed_weights
from qbench_claims.claim import Claim, Quantity, Rule
from qbench_claims.evidence import Measured, MissingError

Judged = Literal["holds", "does not hold", "undecided", "not tested"]
Verdict = Literal["holds", "holds in part", "does not hold", "undecided", "not tested"]


@dataclass(frozen=True)
class Outcome:
    """How one comparison came out.

    Args:
        rule: What was compared.
        judged: `holds` or `does not hold` where the whole 95 % interval lies on one side of the
            limit, `undecided` where it does not, `not tested` where something is `missing`.
        left, right: Means over seeds and images; None where not tested, and `right` for a number.
        difference, low, high: left − right with its 95 % interval.
        missing: What the results do not hold.
    """

    rule: Rule
    judged: Judged
    left: Measured | None = None
    right: Measured | None = None
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    missing: str = ""


@dataclass(frozen=True)
class Judgement:
    """A claim with its comparisons and their verdict."""

    claim: Claim
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """`holds` where every comparison does and nothing is missing, `holds in part` where only
        some do, `does not hold` where none does and at least one fails, `undecided` where none is
        decided, and `not tested` where none could be made."""
        judged = [one.judged for one in self.outcomes if one.judged != "not tested"]
        if not judged:
            return "not tested"
        if "holds" in judged:
            whole = all(one == "holds" for one in judged) and not self.missing
            return "holds" if whole else "holds in part"
        return "does not hold" if "does not hold" in judged else "undecided"

    @property
    def missing(self) -> tuple[str, ...]:
        """What is needed to test the claim, or the rest of it."""
        found = [one.missing for one in self.outcomes if one.missing]
        return tuple(dict.fromkeys([*found, *filter(None, [self.claim.missing])]))


def judge(claim: Claim, measure: Callable[[Quantity], Measured]) -> Judgement:
    """Make every comparison of a claim.

    Args:
        claim: The claim.
        measure: Measures a quantity, or raises `MissingError`.
    """
    return Judgement(claim, tuple(_outcome(case, measure) for case in claim.cases()))


def _outcome(rule: Rule, measure: Callable[[Quantity], Measured]) -> Outcome:
    try:
        left = measure(rule.left)
        right = None if isinstance(rule.right, float) else measure(rule.right)
    except MissingError as error:
        return Outcome(rule, "not tested", missing=str(error))
    fixed = rule.right if isinstance(rule.right, float) else 0.0
    difference = left.mean - (fixed if right is None else right.mean)
    resampled = _resampled(left) - (fixed if right is None else _resampled(right))
    margin = margin95(difference, np.broadcast_to(resampled, RESAMPLES))
    low, high = round(difference - margin, 9), round(difference + margin, 9)
    return Outcome(rule, _side(rule, low, high), left, right, difference, low, high)


def _side(rule: Rule, low: float, high: float) -> Judged:
    if rule.above is not None:
        yes, no = low > rule.above, high <= rule.above
    else:
        assert rule.below is not None
        yes, no = high < rule.below, low >= rule.below
    return "holds" if yes else "does not hold" if no else "undecided"


def _resampled(measured: Measured) -> NDArray[np.float64]:
    """The mean in every resample of seeds and images, see `qbench.records.bootstrap`.

    Quantities of one model have its seeds resampled alike, and all have the images.
    """
    seeds, images = measured.values.shape
    of_seeds = seed_weights(measured.model, seeds)
    return resampled_means(measured.values, of_seeds, image_weights(images))


def untested(claim: Claim) -> Judgement:
    """A claim whose protocol has no results at all."""
    missing = f"results under protocol {claim.protocol}"
    return Judgement(
        claim, tuple(Outcome(case, "not tested", missing=missing) for case in claim.cases())
    )
