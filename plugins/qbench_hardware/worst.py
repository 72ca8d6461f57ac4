"""What a device counted once, dealt into halves: an attack is chosen by one half of the shots, and
judged by the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.evaluation.scoring import margins
from qbench.records.worst import judged_by_the_other_half
from qbench_hardware.circuits import scores_of
from qbench_hardware.interface import Counts
from qbench_hardware.noise import Readout

Halves = NDArray[np.float16]


def worst_case(clean: Halves, attacked: Sequence[Halves]) -> float:
    """Share of images that are correct both clean and under the attack that is worst for them.

    Args:
        clean, attacked: Margins (2, n) as `half_margins` gives them, of the clean images and of
            those of each attack.
    """
    strength = np.stack(attacked).astype(np.float64)
    right = ((strength > 0) & (clean > 0)).astype(np.float64)
    return float(judged_by_the_other_half(strength, right).mean())


def half_margins(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    counts: Counts,
    readout: Readout | None,
    seed: int,
) -> Halves:
    """The margin of each image in either half of its shots, (2, n).

    Args:
        model: Reads the distributions.
        x: Images (n, features).
        y: Labels (n,).
        counts: (n, outcomes), as read.
        readout: Corrects readout errors; None to take counts as they are.
        seed: Of the dealing.
    """
    halves = dealt(counts, np.random.default_rng(seed))
    found = [margins(scores_of(model, x, _corrected(half, readout)), y) for half in halves]
    return np.stack([one.numpy().astype(np.float16) for one in found])


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
