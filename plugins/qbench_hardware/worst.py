"""The worst case over attacks that a device counted once: chosen by one half of the shots, judged
by the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.evaluation.scoring import margins
from qbench_hardware.circuits import scores_of
from qbench_hardware.interface import Counts
from qbench_hardware.noise import Readout

Halves = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Counted:
    """Images and what a device counted of them.

    Args:
        x: (n, features).
        counts: (n, outcomes).
    """

    x: Tensor
    counts: Counts


def worst_case(
    model: nn.Module,
    y: Tensor,
    clean: Counted,
    attacked: Sequence[Counted],
    readout: Readout | None,
) -> float:
    """Share of images that are correct both clean and under the attack that is worst for them.

    To judge an attack by the draws that it was chosen for would count their luck as its strength.
    So the shots of every circuit are dealt into two halves at random: the attack with the smallest
    margin in one half is judged by the other, both ways round.

    Args:
        model: Reads the distributions.
        y: Labels (n,).
        clean, attacked: The clean images, and those of each attack.
        readout: Corrects readout errors; None to take counts as they are.
    """
    generator = np.random.default_rng(0)  # the same report from the same counts
    clean_halves = _margins(model, y, clean, readout, generator)
    halves = [_margins(model, y, one, readout, generator) for one in attacked]
    shares = []
    for choosing, judging in ((0, 1), (1, 0)):
        chosen = torch.stack([half[choosing] for half in halves]).argmin(0)
        judged = torch.stack([half[judging] for half in halves]).gather(0, chosen[None])[0]
        robust = (judged > 0) & (clean_halves[judging] > 0)
        shares.append(float(robust.double().mean()))
    return sum(shares) / 2


def _margins(
    model: nn.Module,
    y: Tensor,
    counted: Counted,
    readout: Readout | None,
    generator: np.random.Generator,
) -> Halves:
    """The margin of each image in either half of its shots."""
    first, second = (
        margins(scores_of(model, counted.x, _corrected(half, readout)), y)
        for half in dealt(counted.counts, generator)
    )
    return first, second


def dealt(counts: Counts, generator: np.random.Generator) -> tuple[Counts, Counts]:
    """Counts (n, outcomes) dealt into two halves at random; a single shot is in both."""
    shots = int(counts[0].sum())
    if shots < 2:
        return counts, counts
    first = np.stack([generator.multivariate_hypergeometric(row, shots // 2) for row in counts])
    return first, counts - first


def _corrected(counts: Counts, readout: Readout | None) -> NDArray[np.float64]:
    frequencies = counts / counts.sum(1, keepdims=True)
    return frequencies if readout is None else readout.correct(frequencies)
