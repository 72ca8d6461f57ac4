"""Logistic regression and a multilayer perceptron, on pixels or features as they are."""

from __future__ import annotations

from torch import nn


class LogisticRegression(nn.Linear):
    """Scores Wx + b; trained on cross-entropy, multinomial logistic regression.

    Args:
        features: Length of an input.
        classes: Their number.
    """

    def __init__(self, features: int = 256, classes: int = 4) -> None:
        super().__init__(features, classes)


class Perceptron(nn.Sequential):
    """Linear → ReLU → Linear.

    Args:
        features: Length of an input.
        classes: Their number.
        neurons: Of the hidden layer; 100, as scikit-learn's `MLPClassifier`.
    """

    def __init__(self, features: int = 256, classes: int = 4, neurons: int = 100) -> None:
        super().__init__(nn.Linear(features, neurons), nn.ReLU(), nn.Linear(neurons, classes))
