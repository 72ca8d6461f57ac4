"""Random Fourier features in place of a circuit, and what an attack on them does to the circuit.

Landman et al. 2022 (arXiv:2210.13200) and Sweke et al. 2023 (arXiv:2309.11647) draw frequencies
from the spectrum of a circuit and fit the amplitudes by linear regression: a classical model of the
same functions. Here it is fitted to a trained circuit, which is asked for the scores of any image,
and never for a gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.datasets.base import Dataset, Split
from qbench.evaluation.crafting import frozen
from qbench.evaluation.scoring import margins, predict, score
from qbench.protocols import DEFAULT, load_protocol
from qbench_claims.patterns import EPS, attacked
from qbench_quantum.models import ReUpload
from qbench_reproduction.spectrum import coefficients, frequencies

RIDGE = 1.0  # added to the Gram matrix of features in [-1, 1]; looked for on one seed of reup


class RandomFeatures(nn.Module):
    """Scores Σ_d a_d cos(ω_d · x) + b_d sin(ω_d · x).

    Args:
        omega: Frequencies (features, D).
        amplitudes: (2 D, classes): of the cosines, then of the sines.
    """

    def __init__(self, omega: Tensor, amplitudes: Tensor) -> None:
        super().__init__()
        self.omega = nn.Parameter(omega)
        self.amplitudes = nn.Parameter(amplitudes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of flattened images x (n, features)."""
        return waves(x, self.omega) @ self.amplitudes


@dataclass(frozen=True)
class Fit:
    """A surrogate beside its circuit.

    Args:
        copies: Randomly perturbed copies of each training image that it was fitted to as well.
        size: D, its number of frequencies.
        r2: Explained share of the variance of the circuit's scores on the test images.
        agreement: Share of test images that both give the same class.
        gradient: Mean cosine of the input gradients of the label's margin of both.
        accuracy: Of the circuit, on clean images and those that an attack made for the surrogate.
    """

    copies: int
    size: int
    r2: float
    agreement: float
    gradient: float
    accuracy: float


def waves(x: Tensor, omega: Tensor) -> Tensor:
    """cos(ω_d · x), then sin(ω_d · x): x (n, features), ω (features, D); (n, 2 D)."""
    phase = x @ omega
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)


def sampled(model: ReUpload, x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Frequencies (features, size) from the circuit's spectrum.

    A frequency's entry for a pixel is one of the circuit's along that pixel, Σ_r s_r w_r, with the
    probability that is its share of the power there, the constant included. Pixels are drawn
    independently of one another.

    Args:
        model: In double precision.
        x: Images (n, features) at which the power is measured.
        size: How many.
        generator: Of the draws.
    """
    power = coefficients(model, x).abs().square().sum(3).mean(0)
    drawn = torch.multinomial(power, size, replacement=True, generator=generator)
    return frequencies(model).gather(1, drawn)


def fit(model: nn.Module, x: Tensor, omega: Tensor) -> RandomFeatures:
    """Amplitudes by ridge regression to a circuit's scores of images x (n, features)."""
    features = waves(x.double(), omega)
    gram = features.T @ features + RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    target = features.T @ predict(model, x).double()
    amplitudes = torch.cholesky_solve(target, torch.linalg.cholesky(gram))
    return RandomFeatures(omega.float(), amplitudes.float())


def perturbed(x: Tensor, copies: int, generator: torch.Generator) -> Tensor:
    """Images (n, features) and copies in which every pixel moves by ±ε, clipped to [0, 1]."""
    found = [x]
    for _ in range(copies):
        sign = torch.randint(0, 2, x.shape, generator=generator) * 2 - 1
        found.append((x + EPS * sign).clamp(0, 1))
    return torch.cat(found)


def compare(
    model: nn.Module, surrogate: nn.Module, dataset: Dataset, images: int, seed: int
) -> tuple[float, float, float, float]:
    """How alike they are: `r2`, `agreement`, `gradient` and `accuracy` of a `Fit`.

    Args:
        model, surrogate: Circuit and surrogate.
        dataset: Whose first test images are scored and attacked.
        images: How many.
        seed: Of the attack.
    """
    x, y = dataset.test.x[:images], dataset.test.y[:images]
    theirs, ours = predict(model, x).double(), predict(surrogate, x).double()
    left, spread = (theirs - ours).square().sum(), (theirs - theirs.mean(0)).square().sum()
    cosine = torch.cosine_similarity(_slope(model, x, y), _slope(surrogate, x, y), dim=1)
    x_adv = attacked(surrogate, Split(x, y), seed, load_protocol(DEFAULT))
    return (
        float(1 - left / spread),
        float((theirs.argmax(1) == ours.argmax(1)).double().mean()),
        float(cosine.mean()),
        score(model, x, x_adv, y).robust_accuracy,
    )


def _slope(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    given = x.clone().requires_grad_()
    with frozen(model):
        (gradient,) = torch.autograd.grad(margins(model(given), y).sum(), given)
    return gradient.double()


def fits(
    model: ReUpload,
    dataset: Dataset,
    *,
    points: Tensor,
    sizes: Sequence[int],
    copies: Sequence[int],
    images: int,
    seed: int,
) -> list[Fit]:
    """Surrogates of every size, fitted to the training images with and without perturbed copies.

    The frequencies of a small one are the first of a large one.

    Args:
        model: The circuit.
        dataset: Trains the surrogates, and is attacked.
        points: Images at which the circuit's spectrum is measured.
        sizes: Numbers of frequencies.
        copies: Numbers of perturbed copies of each training image.
        images: How many test images are attacked.
        seed: Of frequencies, copies and attacks.
    """
    generator = torch.Generator().manual_seed(seed)
    omega = sampled(copy.deepcopy(model).double(), points, max(sizes), generator)
    found = []
    for count in copies:
        x = perturbed(dataset.train.x, count, generator)
        for size in sizes:
            surrogate = fit(model, x, omega[:, :size])
            found.append(Fit(count, size, *compare(model, surrogate, dataset, images, seed)))
    return found
