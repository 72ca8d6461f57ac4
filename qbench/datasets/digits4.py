"""The data set `digits4`: scikit-learn's bundled 8x8 digits 0-3, upsampled to 16x16."""

from __future__ import annotations

import numpy as np

from qbench.datasets.base import Dataset
from qbench.datasets.files import SIDE, balanced, dataset, optional, resized

_TEST_EACH = 35  # of about 180 a class


def load() -> Dataset:
    """The digits: 35 test images a class, the rest for training. Needs no network.

    Raises:
        DataError: scikit-learn is not installed.
    """
    digits = optional("sklearn.datasets", "digits4").load_digits(n_class=4)
    images = resized(digits.images.astype(np.float32) / 16, SIDE)
    labels = digits.target.astype(np.int64)
    test = balanced(labels, _TEST_EACH)
    train = np.setdiff1d(np.arange(len(labels)), test)
    parts = [(images[part], labels[part]) for part in (train, test)]
    return dataset("digits4", ("0", "1", "2", "3"), *parts)
