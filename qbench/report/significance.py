"""Which models are more robust than which others, by paired tests over the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qbench.records.statistics import holm, mcnemar

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """McNemar's test on two models, of which `first` keeps at least as many images robust.

    `only_first` and `only_second` count images that one of them alone keeps; `p_holm` is corrected
    for all comparisons of the board.
    """

    first: str
    second: str
    images: int
    only_first: int
    only_second: int
    p: float
    p_holm: float


def majority(by_seed: Mapping[int, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """(n,): whether more than half of the seeds keep an image robust, a tie being lost.

    Args:
        by_seed: (n,) a seed: the share of passes in which an image is robust; a seed keeps it if
            that is more than half.
    """
    votes = np.stack([shares > 0.5 for _, shares in sorted(by_seed.items())])
    kept: NDArray[np.bool_] = 2 * votes.sum(axis=0) > len(votes)
    return kept


def compare(kept: Sequence[tuple[str, NDArray[np.bool_]]]) -> tuple[Comparison, ...]:
    """McNemar's exact test of every pair, with Holm's correction over all of them.

    Args:
        kept: Models in the order of their rank, and which images (n,) each keeps.
    """
    pairs = [_pair(*one, *other) for one, other in combinations(kept, 2)]
    corrected = holm([pair.p for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True))


def _pair(one: str, kept: NDArray[np.bool_], other: str, also: NDArray[np.bool_]) -> Comparison:
    alone, beside = int((kept & ~also).sum()), int((also & ~kept).sum())
    p = mcnemar(alone, beside)
    if alone >= beside:
        return Comparison(one, other, len(kept), alone, beside, p, p)
    return Comparison(other, one, len(kept), beside, alone, p, p)
