"""The search of `convnet-linear` where its planes do not suffice: branch and bound over pieces.

Only windows with v_j < 0 lose anything to their planes. Such a window's value is the *least* of
affine functions, v_j a_jw and 0: so the least margin is the least over these pieces of the margin
in which the window *is* the piece, over the whole region. No constraint says where the piece wins,
and none is needed: with every such window decided, what remains is convex, and the dual is exact.

The tree splits one window at a time, of the node with the lowest bound, and there the window that
lies farthest above its plane at the mean of the relaxation's last minimisers. A child starts from
the slopes of its parent, with which its bound is at least the parent's, and climbs for a few steps.
The bound of a tree is the least of its leaves' bounds, each of which follows from its slopes alone.
A point with a margin too small ends the search. It is limited in nodes, not seconds, so that every
run finds the same.

After branch and bound with bounds from propagation: Bunel et al. 2020 (arXiv:1909.06588), Wang et
al. 2021 (arXiv:2103.06624).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ascent import ascend, losses
from .problem import Array, Problem

_NODE_STEPS = 25


@dataclass(frozen=True)
class Node:
    """A part of the tree, and the slopes that prove its bound.

    Args:
        bound: On the margin, −∞ where a point refutes what is asked.
        alive: The pieces that it is about, (windows, 5).
        planes: Slopes over pixels, (windows, patch).
        shares: Slopes over outputs, (windows, 4).
        mean: Near the minimiser of the relaxation, (features,).
    """

    bound: float
    alive: NDArray[np.bool_]
    planes: Array
    shares: Array
    mean: Array


def leaves(
    problem: Problem,
    alive: NDArray[np.bool_],
    enough: float,
    steps: int,
    nodes: int,
) -> Iterator[Node]:
    """The leaves of a tree, whose pieces together are all of `alive`.

    First those with a bound above `enough`, as they are found. Any that are left open follow; a
    point that refutes ends the search.

    Args:
        problem: The margin and its region.
        alive: Which pieces can be the largest, (windows, 5).
        enough: What the bound should exceed.
        steps: Of the ascent at the root.
        nodes: After which no further window is split, the root aside; 0 for the root alone.
    """
    root = _node(problem, alive, *problem.start(), enough, 0.0, steps)
    if root.bound > enough:
        yield root
        return
    queue, made = [(root.bound, 0, root)], 0
    while queue and np.isfinite(queue[0][0]) and made < nodes:
        node = queue[0][2]
        loss = losses(
            problem.v, problem.rows, problem.patches, problem.a, problem.low, problem.high,
            problem.radius, node.alive, node.planes, node.mean,
        )  # fmt: skip
        window = int(loss.argmax())
        if loss[window] < 0:  # every concave window is decided
            break
        heapq.heappop(queue)
        for piece in np.flatnonzero(node.alive[window]):
            part = node.alive.copy()
            part[window] = False
            part[window, piece] = True
            gap = (enough - node.bound) / 2
            child = _node(
                problem, part, node.planes.copy(), node.shares.copy(), enough, gap, _NODE_STEPS
            )
            made += 1
            if child.bound > enough:
                yield child
            else:
                heapq.heappush(queue, (child.bound, made, child))
    for _, _, node in queue:
        yield node


def _node(
    problem: Problem,
    alive: NDArray[np.bool_],
    planes: Array,
    shares: Array,
    enough: float,
    gap: float,
    steps: int,
) -> Node:
    mean = np.empty_like(problem.low)
    bound = ascend(*problem, alive, planes, shares, enough, gap, steps, mean)
    return Node(float(bound), alive, planes, shares, mean)
