"""One checkpoint in frequencies: spectrum, attacks, and surrogates fitted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from qbench.datasets.base import Split, load_data
from qbench.errors import WeightsError
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import score
from qbench.protocols import DEFAULT, load_protocol
from qbench.registry import load_registry
from qbench.weights.files import fingerprint
from qbench_claims.patterns import EPS, attacked
from qbench_quantum.models import ReUpload
from qbench_reproduction import kept
from qbench_reproduction.spectrum import EDGES, Spectrum, spectrum
from qbench_reproduction.surrogate import RIDGE, Fit, fits
from qbench_reproduction.trajectories import DATASET, Trajectories

BASE = "fourier"
COPIES = (0, 4)  # perturbed copies of every training image that surrogates are fitted to
_REVISION = 1  # of what is measured here; raised when results change


@dataclass(frozen=True)
class Portrait:
    """One checkpoint in frequencies, and attacked.

    Args:
        spectrum: Along its pixels.
        clean: Share of clean test images that are classified correctly.
        white_box: Share that is too under PGD on the model itself.
        transferred: Share that is too on images made for the Fourier network of the same seed and
            epoch.
        fits: Surrogates; none of a model or an epoch for which none are made.
    """

    spectrum: Spectrum
    clean: float
    white_box: float
    transferred: float
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class Frequencies:
    """Portraits of every model, seed and epoch.

    Args:
        models, seeds, epochs: Which there are.
        images: How many test images were attacked.
        portraits: By model, seed and epoch.
    """

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    images: int
    portraits: Mapping[tuple[str, int, int], Portrait]

    def of(self, model: str, epoch: int) -> list[Portrait]:
        """A model's portraits after an epoch, in the order of the seeds."""
        return [self.portraits[model, seed, epoch] for seed in self.seeds]

    @property
    def fits(self) -> list[Fit]:
        """Every surrogate."""
        return [fit for one in self.portraits.values() for fit in one.fits]

    @property
    def circuits(self) -> list[str]:
        """Models with surrogates."""
        first = self.epochs[0]
        return [model for model in self.models if self.of(model, first)[0].fits]


@dataclass(frozen=True)
class Sitting:
    """What is measured in one go: a checkpoint.

    Args:
        path: Of the file that keeps the result.
        found: The checkpoints.
        model, seed, epoch: Which of them.
        images: How many test images are attacked.
        sizes: Of the surrogates; none are made where there are none.
    """

    path: Path
    found: Trajectories
    model: str
    seed: int
    epoch: int
    images: int
    sizes: tuple[int, ...]

    def question(self) -> dict[str, Any]:
        """All that the result depends on: weights by fingerprint, attack, images, surrogates."""
        weights = {}
        for model in dict.fromkeys((self.model, BASE)):
            training = self.found.training(model, self.seed)
            state = training.state(self.epoch)
            if state is None:
                raise WeightsError(f"no checkpoint of {model} seed {self.seed} epoch {self.epoch}")
            weights[model] = [training.provided().spec.revision, fingerprint(state.weights)]
        return {
            "revision": _REVISION,
            "dataset": load_data(DATASET).sha256,
            "images": self.images,
            "seed": self.seed,
            "protocol": load_protocol(DEFAULT).sha256,
            "attack": [load_registry().get("attack", "pgd").spec.revision, EPS],
            "weights": weights,
            "edges": EDGES.tolist(),
            "surrogates": [self.sizes, COPIES, RIDGE],
        }


def measure(sitting: Sitting) -> dict[str, Any]:
    """Spectrum, attacks and surrogates of one checkpoint. Written to the sitting's file."""
    dataset, seed, found = load_data(DATASET), sitting.seed, sitting.found
    x, y = dataset.test.x[: sitting.images], dataset.test.y[: sitting.images]
    points = first_of_each(dataset.test.x, dataset.test.y)
    with isolated(seed):
        model = found.training(sitting.model, seed).load(sitting.epoch)
        base = found.training(BASE, seed).load(sitting.epoch)
        own = score(model, x, attacked(model, Split(x, y), seed, load_protocol(DEFAULT)), y)
        other = score(model, x, attacked(base, Split(x, y), seed, load_protocol(DEFAULT)), y)
        surrogates: list[Fit] = []
        if sitting.sizes and isinstance(model, ReUpload):
            surrogates = fits(
                model,
                dataset,
                points=points,
                sizes=sitting.sizes,
                copies=COPIES,
                images=sitting.images,
                seed=seed,
            )
        portrait = Portrait(
            spectrum=spectrum(model, points, x, seed),
            clean=own.clean_accuracy,
            white_box=own.robust_accuracy,
            transferred=other.robust_accuracy,
            fits=tuple(surrogates),
        )
    answer = asdict(portrait)
    kept.write(sitting.path, sitting.question(), answer)
    return answer


def first_of_each(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The first image of every class, along whose pixels scores are expanded."""
    return torch.stack([x[(y == label).nonzero()[0, 0]] for label in range(int(y.max()) + 1)])
