"""`smoothing`: certificates of a model's smoothed version, for models that have no other."""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor, nn

from qbench.errors import UsageError
from qbench.evaluation.crafting import frozen
from qbench.interfaces import Radii
from qbench.specs import Perturbations

from .confidence import lower_limit


class Smoothing:
    """Randomised smoothing over the input: g(x) is what f says most often of x + σ·noise.

    Where a lower confidence limit p on the probability of the label exceeds ½, g keeps the label
    within σ Φ⁻¹(p) in ℓ2, and so within that over √d in ℓ∞ (d features). What is certified is g,
    *not* f, and only with a stated confidence for each image. The noise leaves the pixel box.

    Source: Cohen et al. 2019 (arXiv:1902.02918), Theorem 1 and the procedure CERTIFY.

    Args:
        sigma: Standard deviation σ of the noise, in pixel units.
        guesses: Noisy copies from which the class is guessed; they are not used again.
        samples: Noisy copies from which its probability is bounded.
        failure: Probability that the radius of an image is too large.
        batch: Images passed through the model at once.

    Raises:
        UsageError: A parameter that makes no sense.
    """

    def __init__(
        self,
        sigma: float = 0.25,
        guesses: int = 100,
        samples: int = 2000,
        failure: float = 0.001,
        batch: int = 4096,
    ) -> None:
        if not (sigma > 0 and math.isfinite(sigma)):
            raise UsageError(f"smoothing: σ must be a positive number, got {sigma}")
        if min(guesses, samples, batch) < 1 or not 0 < failure < 1:
            raise UsageError("smoothing: needs samples, and a failure probability between 0 and 1")
        self.sigma, self.guesses, self.samples = sigma, guesses, samples
        self.failure, self.batch = failure, batch

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """Radii of the smoothed model around images x (n, features) with labels y (n,)."""
        with frozen(model), torch.no_grad():
            guess = self._counts(model, x, self.guesses, generator).argmax(1)
            counts = self._counts(model, x, self.samples, generator)
        hits = counts.gather(1, guess[:, None])[:, 0].double()
        p = torch.as_tensor(lower_limit(hits, self.samples, self.failure))
        radius = self.sigma * torch.as_tensor(ndtri(p.numpy())).clamp(min=0)
        radius = torch.where(guess == y, radius, torch.zeros_like(radius))
        if perturbations.norm == "linf":
            radius = radius / math.sqrt(x.shape[1])
        detail = f"σ = {self.sigma:g}, {self.samples} samples an image"
        return Radii(radius=radius, confidence=1 - self.failure, detail=detail)

    def _counts(self, model: nn.Module, x: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """How often each class is given to n noisy copies of each image, (images, classes)."""
        rows = []
        for image in x:
            given = []
            for first in range(0, n, self.batch):
                shape = (min(self.batch, n - first), len(image))
                noise = torch.randn(shape, generator=generator, dtype=x.dtype)
                scores = model(image + self.sigma * noise)
                given.append(nn.functional.one_hot(scores.argmax(1), scores.shape[1]).sum(0))
            rows.append(torch.stack(given).sum(0))
        return torch.stack(rows)
