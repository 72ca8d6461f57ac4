"""Fourier frequencies of a model along one pixel: of a re-uploading circuit, and the sine network.

Pixel p enters the circuit through a few rotations, with angles w_r x_p + θ_r. A rotation by an
angle a is exp(-i a P/2) for a Pauli operator P, so a score is a trigonometric polynomial of degree
1 in each of the angles. Along x + t e_p it is therefore, exactly,

    f(x + t e_p) = Σ_s c_s exp(i t Σ_r s_r w_r),    s_r ∈ {-1, 0, 1},

with at most 3^R frequencies for R rotations (Schuld, Sweke and Meyer 2021, arXiv:2008.08605). The
discrete Fourier transform of the scores at the angles shifted by 0, 2π/3 and 4π/3 gives the c_s.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.circuits.torch_engine import expectations
from qbench.errors import Unsupported
from qbench.evaluation.scoring import predict
from qbench_classical.models import Fourier
from qbench_quantum.models import ReUpload

EDGES = np.logspace(-3, 1, 21)  # bins of |ω|, radians per unit of a pixel's value; five a decade
_MOST_READS = 4
_CHECKS = 20  # random displacements at which the expansion is compared with the circuit


@dataclass(frozen=True)
class Spectrum:
    """How strongly a model uses which frequencies along a pixel: means over pixels and images.

    The power of a wave is its mean square, summed over classes and divided by the variance of the
    scores over the images, so that models with scores of any size compare. A constant is no wave.

    Args:
        power: In each bin of `EDGES`; frequencies beyond them count in the outermost bins.
        slope: The power times ω²: what waves of each bin add to the mean square slope.
        mean: |ω| averaged with the power as weight.
        largest: The largest |ω| of all pixels.
        deviation: Largest difference of the scores from their expansion where it was checked, in
            double precision; 0 where the model is defined by its expansion.
    """

    power: tuple[float, ...]
    slope: tuple[float, ...]
    mean: float
    largest: float
    deviation: float


def spectrum(model: nn.Module, x: Tensor, images: Tensor, seed: int) -> Spectrum:
    """The spectrum of a trained model.

    Args:
        model: A `ReUpload` or a `Fourier`.
        x: Images (n, features) along whose pixels scores are expanded.
        images: Images (m, features) whose scores' variance is the unit of power.
        seed: Of the displacements at which the expansion is checked.

    Raises:
        Unsupported: It is another model, or pixels are read more than four times, or unequally.
    """
    exact = copy.deepcopy(model).double()
    unit = float(predict(exact, images.double()).var(0, correction=0).sum())
    if isinstance(exact, Fourier):
        omega = exact.frequencies.weight.detach().T
        amplitudes = exact.sine.weight.detach().square() + exact.cosine.weight.detach().square()
        return _binned(omega, (amplitudes.sum(0) / 2).expand_as(omega) / unit, 0.0)
    if not isinstance(exact, ReUpload):
        raise Unsupported(f"{type(model).__name__} has no known frequencies: give reup or fourier")
    found = coefficients(exact, x)
    waves = found[:, :, 1:].abs().square().sum(3).mean(0) / unit
    return _binned(frequencies(exact)[:, 1:], waves, _deviation(exact, x, found, seed))


def signs(reads: int) -> Tensor:
    """All s ∈ {0, 1, -1}^reads, (3^reads, reads); the constant first."""
    return torch.tensor(list(itertools.product((0, 1, -1), repeat=reads)), dtype=torch.float64)


def reads_of(model: ReUpload) -> int:
    """How many rotations read each pixel.

    Raises:
        Unsupported: Some read more than others, or more than four read one.
    """
    reads, more = divmod(model.rotations, model.features)
    if more or reads > _MOST_READS:
        raise Unsupported(
            f"{model.rotations} rotations read {model.features} features: frequencies are found "
            f"where each is read equally often, and at most {_MOST_READS} times"
        )
    return reads


def frequencies(model: ReUpload) -> Tensor:
    """ω_s = Σ_r s_r w_r of every pixel, (features, 3^reads), in the order of `signs`."""
    reads = reads_of(model)
    weights = model.w.detach().double().reshape(reads, model.features)  # rotation r · features + p
    return (signs(reads) @ weights).T


def coefficients(model: ReUpload, x: Tensor, pixels: Sequence[int] | None = None) -> Tensor:
    """c_s of every score along every pixel.

    Args:
        model: In double precision.
        x: Images (n, features).
        pixels: Which; by default all of them.

    Returns:
        Complex (n, pixels, 3^reads, classes), in the order of `signs`.
    """
    reads, chosen = reads_of(model), list(range(model.features) if pixels is None else pixels)
    thirds = torch.tensor(list(itertools.product(range(3), repeat=reads)), dtype=torch.float64)
    shifts = 2 * np.pi / 3 * thirds
    tiled = x.double().repeat(1, reads).view(-1, *model.circuit.angles_shape)
    angles = (model.theta.detach() + model.w.detach() * tiled).flatten(1)
    found = []
    for one in angles:
        moved = one.repeat(len(chosen), len(shifts), 1)
        for place, pixel in enumerate(chosen):
            moved[place, :, pixel :: model.features] += shifts
        batch = moved.view(-1, *model.circuit.angles_shape)
        with torch.no_grad():
            scores = expectations(model.engine.probabilities(model.circuit, batch))
        grid = scores.view(len(chosen), *(3,) * reads, -1).to(torch.complex128)
        transformed = torch.fft.fftn(grid, dim=tuple(range(1, reads + 1))) / len(shifts)
        found.append(transformed.view(len(chosen), len(shifts), -1))  # 0, 1, -1 in each angle
    return torch.stack(found)


def expanded(omega: Tensor, found: Tensor, t: Tensor) -> Tensor:
    """Σ_s c_s exp(i ω_s t): frequencies (k,), coefficients (k, classes), t (n,); (n, classes)."""
    waves = torch.exp(1j * t.double()[:, None] * omega)
    return (waves @ found).real


def _deviation(model: ReUpload, x: Tensor, found: Tensor, seed: int) -> float:
    generator, worst = torch.Generator().manual_seed(seed), 0.0
    omega = frequencies(model)
    for _ in range(_CHECKS):
        image = int(torch.randint(len(x), (), generator=generator))
        pixel = int(torch.randint(model.features, (), generator=generator))
        t = 20 * torch.rand(1, generator=generator, dtype=torch.float64) - 10
        moved = x[image].double()[None].clone()
        moved[0, pixel] += t[0]
        there = expanded(omega[pixel], found[image, pixel], t)
        worst = max(worst, float((there - predict(model, moved)).abs().max()))
    return worst


def _binned(omega: Tensor, power: Tensor, deviation: float) -> Spectrum:
    """Of frequencies (pixels, k) and the power of their waves (pixels, k)."""
    size = omega.abs().numpy().ravel()
    share = power.numpy().ravel() / len(omega)
    clipped = size.clip(EDGES[0], EDGES[-1])

    def histogram(weights: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(np.histogram(clipped, EDGES, weights=weights)[0].tolist())

    return Spectrum(
        power=histogram(share),
        slope=histogram(share * size**2),
        mean=float((share * size).sum() / share.sum()),
        largest=float(size.max()),
        deviation=deviation,
    )
