"""The questions of `linear` as what its compiled loops take: one margin over one image's region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..pairwise import MarginQueries
from ..region import Region
from .kernel import contenders, spans
from .network import WindowNetwork
from .planes import start

Array = NDArray[np.float64]


class Problem(NamedTuple):
    """What `ascent.ascend` is given first: one margin over the region of one image."""

    v: Array
    constant: float
    rows: Array
    patches: NDArray[np.int64]
    a: Array
    lower: Array
    upper: Array
    low: Array
    high: Array
    radius: float

    def start(self) -> tuple[Array, Array]:
        """The slopes to start from, over pixels (windows, patch) and outputs (windows, 4)."""
        planes, shares = start(self.v, self.rows, self.lower, self.upper)
        return planes, shares


def problems(
    network: WindowNetwork, x: Tensor, asked: MarginQueries, region: Region
) -> Iterator[tuple[Problem, NDArray[np.bool_]]]:
    """Each question as a problem, and which pieces can be the largest, (windows, 5).

    Args:
        network: The network.
        x: Images (n, pixels).
        asked: The questions. An image's questions follow each other, and have one region.
        region: The perturbations of each question.
    """
    rows, patches = network.rows.numpy(), network.patches.numpy()
    a = network.outputs(x).numpy()
    weights = (network.weight[asked.label] - network.weight[asked.other]).numpy()
    constants = (network.offset[asked.label] - network.offset[asked.other]).tolist()
    low, high = region.low.contiguous().numpy(), region.high.contiguous().numpy()
    seen = -1
    for index, image in enumerate(asked.image.tolist()):
        around = low[index], high[index], float(region.radius[index])
        if image != seen:
            seen = image
            lower, upper = spans(rows, patches, a[image], *around)
            alive = contenders(rows, patches, a[image], lower, upper, *around)
        yield (
            Problem(
                weights[index], constants[index], rows, patches, a[image], lower, upper, *around
            ),
            alive,
        )
