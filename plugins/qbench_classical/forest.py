"""A random forest whose trees are arrays: grown by scikit-learn, evaluated by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset
from qbench.datasets.files import optional

_LEAST = 1e-6  # probability; logarithms stay finite


class RandomForest(nn.Module):
    """Trees that vote with the shares of the classes in their leaves (Breiman 2001).

    The score of class k is the logarithm of the mean of these shares. Node i of a tree asks whether
    feature `feature[i]` is at most `threshold[i]`, and goes on to the node `below[i]` if it is, to
    the one after that if not; a leaf has `below[i]` = 0. Scores are constant almost everywhere: no
    gradient says anything.

    Args:
        features: Length of an input.
        classes: Their number.
        trees: Their number.
        leaves: Most leaves that a tree may have.
    """

    feature: Tensor
    threshold: Tensor
    below: Tensor
    shares: Tensor

    def __init__(
        self, features: int = 256, classes: int = 4, trees: int = 100, leaves: int = 128
    ) -> None:
        super().__init__()
        self.features, self.leaves = features, leaves
        nodes = trees, 2 * leaves - 1
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("below", torch.zeros(nodes, dtype=torch.int16))
        self.register_buffer("shares", torch.full((*nodes, classes), 1 / classes))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        tree = torch.arange(len(self.below))
        node = torch.zeros(len(x), len(tree), dtype=torch.long)
        while bool((below := self.below[tree, node].long()).any()):
            left = x.gather(1, self.feature[tree, node].long()) <= self.threshold[tree, node]
            node = torch.where(below > 0, below + (~left).long(), node)
        return (self.shares[tree, node].mean(1) + _LEAST).log()


def grow(model: RandomForest, dataset: Dataset, seed: int) -> None:
    """Grow the trees on the training images.

    Raises:
        DataError: scikit-learn is not installed.
    """
    ensemble = optional("sklearn.ensemble", "growing a random forest")
    forest = ensemble.RandomForestClassifier(
        len(model.below), max_leaf_nodes=model.leaves, random_state=seed
    )
    forest.fit(dataset.train.x.numpy(), dataset.train.y.numpy())
    read(model, forest)


def read(model: RandomForest, forest: Any) -> None:
    """Put a forest that scikit-learn has fitted into a model.

    A float32 feature is at most a threshold in float64 exactly if it is at most that threshold,
    rounded down to float32.
    """
    for row, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        order = _level_by_level(tree)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        inner = tree.children_left[order] >= 0
        below = np.where(inner, places[tree.children_left[order]], 0)
        model.below[row, : len(order)] = torch.from_numpy(below)
        model.feature[row, : len(order)] = torch.from_numpy(np.where(inner, tree.feature[order], 0))
        threshold = np.where(inner, _rounded_down(tree.threshold[order]), 0)
        model.threshold[row, : len(order)] = torch.from_numpy(threshold)
        shares = tree.value[order, 0] / tree.value[order, 0].sum(1, keepdims=True)
        model.shares[row, : len(order)] = torch.from_numpy(shares)


def _level_by_level(tree: Any) -> list[int]:
    """A tree's nodes, the root first and children side by side."""
    order, place = [0], 0
    while place < len(order):
        node = order[place]
        if tree.children_left[node] >= 0:
            order += [int(tree.children_left[node]), int(tree.children_right[node])]
        place += 1
    return order


def _rounded_down(values: np.ndarray) -> np.ndarray:
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
