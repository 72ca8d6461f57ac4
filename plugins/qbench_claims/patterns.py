"""Perturbation patterns in numbers: what PGD changes in the images of a model.

The glyphs have a known meaning. To turn an image of class a into class b, a human would change it
along D, the mean training image of b minus that of a.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbench.datasets.base import Dataset
from qbench.evaluation.crafting import craft, frozen
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import margins, predict
from qbench.protocols import DEFAULT, load_protocol
from qbench.registry import load_registry
from qbench.weights.files import fingerprint, load_into, unpack
from qbench.weights.zoo import Zoo, file_name

PATTERNS = ("high-frequencies", "towards-class", "background", "smoothgrad")
EPS = 0.1
_INKED = 0.02  # a pixel that no training image exceeds is background
_DRAWS, _NOISE = 25, 0.1  # of SmoothGrad


@dataclass
class Patterns:
    """Perturbations of the first `images` test images, made once a trained model.

    Args:
        dataset: The images.
        images: How many.
    """

    dataset: Dataset
    images: int
    _made: dict[tuple[str, int], dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def measure(
        self, what: str, model: str, weights: Mapping[int, str]
    ) -> dict[int, NDArray[np.float64]]:
        """A measure of every image's perturbation, (images,) by seed.

        Args:
            what: One of `PATTERNS`.
            model: A model of the zoo.
            weights: Fingerprints by seed; what the zoo holds of other weights is left out.

        Returns:
            Nothing for a table, which has no spatial frequencies.
        """
        found: dict[int, NDArray[np.float64]] = {}
        if self.dataset.image_shape is None:
            return found
        for seed, sha256 in weights.items():
            if (model, seed) not in self._made:
                made = _trained(model, seed, sha256)
                if made is None:
                    continue
                self._made[model, seed] = describe(made, self.dataset, self.images, seed)
            found[seed] = self._made[model, seed][what]
        return found


def _trained(model: str, seed: int, sha256: str) -> nn.Module | None:
    zoo = Zoo()
    if zoo.sha256(model, seed) is None:
        return None
    name = file_name(model, seed)
    weights = unpack(zoo.read(model, seed), name)[0].weights
    if fingerprint(weights) != sha256:
        return None
    with isolated(seed):
        made: nn.Module = load_registry().get("model", model).create()
    load_into(made, weights, name)
    return made.eval()


def describe(
    model: nn.Module, dataset: Dataset, images: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Every measure of PGD's perturbations at ε = 0.1, (images,) each.

    Args:
        model: Trained.
        dataset: Of images with rows and columns.
        images: How many of its test images are attacked.
        seed: Of the attack's and SmoothGrad's randomness.

    Returns:
        By name: `high-frequencies`, the share of δ's energy at spatial frequencies above a quarter
        of a cycle a pixel, half of the highest; `towards-class`, cosine of δ and D towards the
        other class that scores best after it; `background`, share of Σ|δ| on pixels that no
        training image inks; `smoothgrad`, cosine of δ and minus SmoothGrad of the label's margin.

    Source: Smilkov et al. 2017 for SmoothGrad, the mean gradient over noisy copies of an image.
    """
    protocol, test, train = load_protocol(DEFAULT), dataset.test, dataset.train
    x, y = test.x[:images], test.y[:images]
    attack = load_registry().get("attack", "pgd").create(**protocol.attack_params("pgd", EPS))
    x_adv = craft(attack, model, x, y, protocol.threat_model(EPS), seed).x_adv
    delta = (x_adv - x).double()
    nearest = predict(model, x_adv).scatter(1, y[:, None], -torch.inf).argmax(1)
    classes = len(dataset.classes)
    means = torch.stack([train.x[train.y == c].double().mean(0) for c in range(classes)])
    way = means[nearest] - means[y]
    empty = train.x.amax(0) < _INKED
    size = delta.abs().sum(1).clamp(min=1e-30)
    found = {
        "high-frequencies": _high(delta.view(len(x), *_sides(dataset))),
        "towards-class": _cosine(delta, way),
        "background": delta[:, empty].abs().sum(1) / size,
        "smoothgrad": _cosine(delta, -smoothgrad(model, x, y, seed).double()),
    }
    return {name: values.numpy() for name, values in found.items()}


def smoothgrad(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
    """The mean gradient of the label's margin over noisy copies of x (n, features), like x."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros_like(x)
    with frozen(model):
        for _ in range(_DRAWS):
            noisy = x + _NOISE * torch.randn(x.shape, generator=generator)
            noisy.requires_grad_()
            (gradient,) = torch.autograd.grad(margins(model(noisy), y).sum(), noisy)
            total += gradient / _DRAWS
    return total


def _sides(dataset: Dataset) -> tuple[int, int]:
    assert dataset.image_shape is not None
    return dataset.image_shape


def _high(delta: Tensor) -> Tensor:
    energy = torch.fft.fft2(delta).abs().square()
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in delta.shape[1:])
    high = (rows[:, None].square() + columns.square()).sqrt() > 0.25
    share: Tensor = energy[:, high].sum(1) / energy.sum((1, 2)).clamp(min=1e-30)
    return share


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    cosine: Tensor = (a * b).sum(1) / lengths.clamp(min=1e-30)
    return cosine
