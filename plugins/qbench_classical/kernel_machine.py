"""Support vector machines whose vectors are weights: fitted by scikit-learn, evaluated by torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset
from qbench.datasets.files import optional


class KernelMachine(nn.Module):
    """One support vector machine a class against the rest, with a Gaussian kernel.

    The score of class k is Σ_i a_ik exp(−γ ‖z(x) − s_i‖²) + b_k with support vectors s_i; here z is
    x itself. Vectors that support nothing are zeros, and so are their coefficients.

    Args:
        features: Length of an input.
        classes: Their number.
        vectors: At most so many images are fitted to, and can become support vectors.
        width: γ in units of 1 / (d · variance of the fitted z), d being the length of z.
        cost: C, what a margin that is too small costs.
        length: d, by default the number of features.
    """

    support: Tensor
    coefficients: Tensor
    offset: Tensor
    gamma: Tensor

    def __init__(
        self,
        features: int = 256,
        classes: int = 4,
        vectors: int = 1000,
        width: float = 1.0,
        cost: float = 1.0,
        length: int | None = None,
    ) -> None:
        super().__init__()
        self.width, self.cost = width, cost
        shapes = {
            "support": (vectors, features if length is None else length),
            "coefficients": (vectors, classes),
            "offset": (classes,),
            "gamma": (),
        }
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape), requires_grad=False))

    def embedded(self, x: Tensor) -> Tensor:
        """z (n, length) of images x (n, features)."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        kernel = torch.exp(-self.gamma * squared_distances(self.embedded(x), self.support))
        return kernel @ self.coefficients + self.offset


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i − b_j‖² (n, m) of rows a (n, d) and b (m, d)."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.mT).clamp(min=0)


def fit(model: KernelMachine, dataset: Dataset, seed: int) -> None:
    """Fit a machine to the training images, or to as many as it can hold, drawn by the seed.

    Raises:
        DataError: scikit-learn is not installed.
    """
    svm = optional("sklearn.svm", "fitting a support vector machine")
    x, y = dataset.train.x, dataset.train.y
    most = len(model.support)
    if len(y) > most:
        drawn = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))[:most]
        x, y = x[drawn.sort().values], y[drawn.sort().values]
    with torch.no_grad():
        z = model.embedded(x).double()
        gamma = model.width / (z.shape[1] * float(z.var(correction=0)))
        kernel = torch.exp(-gamma * squared_distances(z, z)).numpy()
        coefficients = np.zeros((most, model.coefficients.shape[1]))
        for label in range(coefficients.shape[1]):
            machine = svm.SVC(C=model.cost, kernel="precomputed").fit(kernel, (y == label).numpy())
            coefficients[machine.support_, label] = machine.dual_coef_[0]
            model.offset[label] = float(machine.intercept_[0])
        model.gamma.fill_(gamma)
        model.coefficients.copy_(torch.from_numpy(coefficients))
        supports = model.coefficients.any(1)
        model.support[: len(z)] = z.to(model.support) * supports[: len(z), None]
