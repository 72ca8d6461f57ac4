"""Perturbation patterns in numbers: what PGD changes in the images of a model.

The glyphs have a known meaning. To turn an image of class a into class b, a human would change it
along D, the mean training image of b minus that of a.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.datasets.base import Dataset, Split, load_data
from qbench.evaluation.crafting import craft, frozen
from qbench.evaluation.isolation import isolated
from qbench.evaluation.parallel import Advance, each
from qbench.evaluation.scoring import margins, predict
from qbench.protocols import Protocol, load_protocol
from qbench.registry import load_registry
from qbench.weights.files import fingerprint, load_into, unpack
from qbench.weights.zoo import Zoo, file_name

PATTERNS = (
    "high-frequencies",
    "towards-class",
    "meaningful",
    "background",
    "gradient",
    "smoothgrad",
)
EPS = 0.1
INKED = 0.02  # a pixel that no training image exceeds is background
LARGE = 0.1  # of the largest |D|: a pixel that means something
_DRAWS, _NOISE = 25, 0.1  # of SmoothGrad


@dataclass(frozen=True)
class Trained:
    """A model of the zoo by its weights.

    Args:
        model, seed: Which.
        weights: Fingerprint of the weights.
    """

    model: str
    seed: int
    weights: str

    def load(self) -> nn.Module | None:
        """The model in evaluation mode; None where the zoo has not these weights."""
        zoo, name = Zoo(), file_name(self.model, self.seed)
        if zoo.sha256(self.model, self.seed) is None:
            return None
        weights = unpack(zoo.read(self.model, self.seed), name)[0].weights
        if fingerprint(weights) != self.weights:
            return None
        with isolated(self.seed):
            made: nn.Module = load_registry().get("model", self.model).create()
        load_into(made, weights, name)
        return made.eval()


@dataclass
class Patterns:
    """Perturbations of a protocol's images, made once a trained model.

    Args:
        protocol: How PGD attacks.
        dataset: Whose training images give D and the background.
        images: The images that are attacked.
    """

    protocol: Protocol
    dataset: Dataset
    images: Split
    _made: dict[Trained, dict[str, NDArray[np.float64]] | None] = field(default_factory=dict)

    def make(self, models: Collection[Trained], jobs: int, advance: Advance) -> None:
        """Make and measure the perturbations of models, in processes side by side.

        Args:
            models: Of the zoo; what it holds of other weights is left out.
            jobs: Processes.
            advance: Told of every model.
        """
        work = (
            [] if self.dataset.image_shape is None else [m for m in models if m not in self._made]
        )
        about = partial(_measured, self.protocol.name, self.dataset.name, len(self.images.y))
        for one, found in each(about, work, jobs):
            self._made[one] = found
            advance(1, f"{one.model} seed {one.seed}")
        advance(len(models) - len(work), "there already")

    def measure(self, what: str, models: Collection[Trained]) -> dict[int, NDArray[np.float64]]:
        """A measure of every image's perturbation, (images,) by seed.

        Args:
            what: One of `PATTERNS`.
            models: One model of the zoo in its seeds.

        Returns:
            Nothing for a table, which has no spatial frequencies.
        """
        self.make(models, 1, lambda *_: None)
        made = {one.seed: self._made.get(one) for one in models}
        return {seed: found[what] for seed, found in made.items() if found is not None}


def _measured(
    protocol: str, dataset: str, images: int, one: Trained
) -> dict[str, NDArray[np.float64]] | None:
    """Every measure of a model's perturbations; None where the zoo has not these weights."""
    model = one.load()
    if model is None:
        return None
    attacks, data = load_protocol(protocol), load_data(dataset)
    chosen = attacks.selection.images(data, images)
    with isolated(one.seed):
        x_adv = attacked(model, chosen, one.seed, attacks)
        return measures(model, data, chosen, x_adv, one.seed)


def attacked(model: nn.Module, images: Split, seed: int, protocol: Protocol) -> Tensor:
    """Images as PGD at ε = 0.1 changes them for a model, (images, features).

    Args:
        model: Trained.
        images: What is attacked.
        seed: Of the attack's randomness.
        protocol: Says how PGD attacks.
    """
    attack = load_registry().get("attack", "pgd").create(**protocol.attack_params("pgd", EPS))
    return craft(attack, model, images.x, images.y, protocol.threat_model(EPS), seed).x_adv


def measures(
    model: nn.Module, dataset: Dataset, images: Split, x_adv: Tensor, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Every measure of perturbations, (images,) each.

    Args:
        model: What they were made for.
        dataset: Of images with rows and columns.
        images: Before the attack.
        x_adv: After it, (images, features).
        seed: Of SmoothGrad's randomness.

    Returns:
        By name: `high-frequencies`, the share of δ's energy at spatial frequencies above a quarter
        of a cycle a pixel, half of the highest; `towards-class`, cosine of δ and D towards the
        other class that scores best after it; `meaningful`, share of Σ|δ| on pixels where |D| is at
        least a tenth of its largest value; `background`, share on pixels that no training image
        inks; `gradient`, cosine of δ and minus the gradient of the label's margin at the image;
        `smoothgrad`, cosine of δ and minus SmoothGrad of that margin.
    """
    x, y, train = images.x, images.y, dataset.train
    delta = (x_adv - x).double()
    nearest = predict(model, x_adv).scatter(1, y[:, None], -torch.inf).argmax(1)
    classes = len(dataset.classes)
    means = torch.stack([train.x[train.y == c].double().mean(0) for c in range(classes)])
    way = means[nearest] - means[y]
    means_something = way.abs() >= LARGE * way.abs().amax(1, keepdim=True)
    empty = train.x.amax(0) < INKED
    size = delta.abs().sum(1).clamp(min=1e-30)
    found = {
        "high-frequencies": _high(delta.view(len(x), *_sides(dataset))),
        "towards-class": _cosine(delta, way),
        "meaningful": (delta.abs() * means_something).sum(1) / size,
        "background": delta[:, empty].abs().sum(1) / size,
        "gradient": _cosine(delta, -input_gradient(model, x, y).double()),
        "smoothgrad": _cosine(delta, -smoothgrad(model, x, y, seed).double()),
    }
    return {name: values.numpy() for name, values in found.items()}


def input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the label's margin at x (n, features), like x."""
    at = x.clone().requires_grad_()
    with frozen(model):
        (gradient,) = torch.autograd.grad(margins(model(at), y).sum(), at)
    return gradient


def smoothgrad(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
    """The mean gradient of the label's margin over noisy copies of x (n, features), like x.

    Source: Smilkov et al. 2017, arXiv:1706.03825.
    """
    generator, total = torch.Generator().manual_seed(seed), torch.zeros_like(x)
    for _ in range(_DRAWS):
        noisy = x + _NOISE * torch.randn(x.shape, generator=generator)
        total += input_gradient(model, noisy, y) / _DRAWS
    return total


def of_noise(dataset: Dataset) -> float:
    """The share of white noise's energy in high frequencies, for images of a data set."""
    return float(_high_frequencies(*_sides(dataset)).double().mean())


def _high_frequencies(rows: int, columns: int) -> Tensor:
    """Which frequencies of a discrete Fourier transform are high, (rows, columns)."""
    along = [torch.fft.fftfreq(n, dtype=torch.float64) for n in (rows, columns)]
    high: Tensor = (along[0][:, None].square() + along[1].square()).sqrt() > 0.25
    return high


def _sides(dataset: Dataset) -> tuple[int, int]:
    assert dataset.image_shape is not None
    return dataset.image_shape


def _high(delta: Tensor) -> Tensor:
    energy = torch.fft.fft2(delta).abs().square()
    high = _high_frequencies(*delta.shape[1:])
    share: Tensor = energy[:, high].sum(1) / energy.sum((1, 2)).clamp(min=1e-30)
    return share


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    cosine: Tensor = (a * b).sum(1) / lengths.clamp(min=1e-30)
    return cosine
