"""`qbench.certify`: how far each image may be perturbed before a prediction can change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qbench.api.arguments import read_budgets, read_norm, read_plugins
from qbench.api.evaluation import fitted_model, running_on
from qbench.datasets.attacked import Box, attacked_images
from qbench.datasets.base import Split
from qbench.engines.modules import engine_of
from qbench.errors import Unsupported, UsageError
from qbench.evaluation.placing import Placing
from qbench.evaluation.radii import BUDGETS, certify_images
from qbench.model_names import ModelName, with_engine
from qbench.registry import Registry, load_registry
from qbench.specs import Norm, Perturbations

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Certificates:
    """Certified radii of images.

    Args:
        radius: (n,) float64: no perturbation of at most this size changes the prediction from the
            label; 0 where nothing is proved or the image is misclassified.
        label, prediction: (n,) classes.
        certifier: (n,) names: whose radius is the largest.
        confidence: Probability that the radius of an image is right; 1 for a proof.
        norm: Of the radii.
        smoothed: Whether they are those of a smoothed version of the model.
    """

    radius: Tensor
    label: Tensor
    prediction: Tensor
    certifier: tuple[str, ...]
    confidence: float
    norm: Norm
    smoothed: bool

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified correctly."""
        return float((self.prediction == self.label).double().mean())

    def certified_accuracy(self, eps: float) -> float:
        """Share of images that no perturbation of size ε can make misclassified."""
        correct = (self.radius >= eps) & ((self.prediction == self.label) | self.smoothed)
        return float(correct.double().mean())

    def __str__(self) -> str:
        median = float(self.radius.median())
        of = " of the smoothed model" if self.smoothed else ""
        return (
            f"clean {self.clean_accuracy:.3f}, median certified {self.norm} radius{of} "
            f"{median:.4g} over {len(self.radius)} images"
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row an image."""
        import pandas as pd

        return pd.DataFrame(
            {
                "label": self.label.numpy(),
                "prediction": self.prediction.numpy(),
                "radius": self.radius.numpy(),
                "certifier": self.certifier,
            }
        )


def certify(
    model: Any,
    data: Any = "glyphs",
    *,
    certifier: str | None = None,
    norm: Any = "linf",
    eps: Any = None,
    box: Box = (0.0, 1.0),
    engine: str | None = None,
    shots: int | None = None,
    plugins: Sequence[Path | str] = (),
    seed: int = 0,
    **params: Any,
) -> Certificates:
    """Prove how far images may be perturbed, without attacking them.

    Args:
        model, data, norm, box, plugins, seed: As for `evaluate`.
        engine, shots: As for `evaluate`. What shots count on an engine, noise included, is
            certified by `certifier="counts"`; every other one is about the exact circuit.
        certifier: As `qbench certifiers` lists it; None for the best of all that cover the model.
            One that is costly, or certifies a smoothed version of the model, runs only by name.
        eps: Budgets that matter, several or one; a certifier that decides one budget at a time need
            decide no other.
        **params: Parameters of the certifier that is named.

    Raises:
        Unsupported: No certifier covers the model.
        UnknownNameError, UsageError, DataError, VerificationError: As for `evaluate`.
    """
    files = read_plugins(plugins)
    registry, norm = load_registry(files), read_norm(norm)
    name = ModelName("the model", engine, shots)
    if isinstance(model, str):
        name = with_engine(model, engine, shots)
        model = name.model
    names = _certifiers(registry, certifier, norm, params)
    counted = any(registry.get("certifier", one).spec.counted for one in names)
    placing = Placing(registry, [name.model], name.engine, name.shots)
    if not counted:
        placing.refuse_certificates([name])
    budgets = BUDGETS[norm] if eps is None else tuple(sorted(set(read_budgets(eps)[0]) - {0.0}))
    given = attacked_images(data, box, files)
    adapted = fitted_model(model, given, box, seed, files)
    split, own = given.split, adapted.layout(given.split.x).dtype
    if torch.promote_types(own, split.x.dtype) == own:
        split = Split(split.x.to(own), split.y)  # exactly the same images
    module = adapted.unwrapped(split.x)
    perturbations = Perturbations(norm=norm, eps=budgets, box=box)
    best: Certificates | None = None
    reason = ""
    # Proofs are of the same function on any exact engine.
    elsewhere = counted or engine_of(module) is None
    where = (name.engine, name.shots) if elsewhere else (None, None)
    with running_on(module, *where, seed, registry):
        there = engine_of(module)
        if counted and there is not None and getattr(there, "shots", None) is None:
            raise UsageError(f"{certifier} certifies what is counted: give shots, e.g. 4096")
        for one in names:
            try:
                found = _certificates(registry, one, module, split, perturbations, seed, params)
            except Unsupported as error:
                reason = f": {error}"
                continue
            best = found if best is None else _better(best, found)
    if best is None:
        smoothed = [n for n, p in registry.all("certifier").items() if p.spec.smoothed]
        raise Unsupported(
            f"no certifier covers {adapted.kind}: name one that certifies its smoothed version, "
            f"certifier={smoothed[0]!r}"
            if certifier is None and smoothed
            else f"{certifier} does not cover {adapted.kind}{reason}"
        )
    return best


def _certifiers(
    registry: Registry, certifier: str | None, norm: Norm, params: dict[str, Any]
) -> list[str]:
    if certifier is None:
        if params:
            raise UsageError(f"{', '.join(params)}: parameters go with a certifier by name")
        every = registry.all("certifier").items()
        return [n for n, p in every if norm in p.spec.norms and p.spec.by_default]
    provided = registry.get("certifier", certifier)
    provided.check_names(params)
    norms = provided.spec.norms
    if norm not in norms:
        raise Unsupported(
            f"{certifier} certifies nothing in {norm}: it takes {', '.join(norms) or 'no norm'}"
        )
    return [certifier]


def _certificates(
    registry: Registry,
    name: str,
    model: nn.Module,
    split: Split,
    perturbations: Perturbations,
    seed: int,
    params: dict[str, Any],
) -> Certificates:
    provided = registry.get("certifier", name)
    generator = torch.Generator().manual_seed(seed)
    instance = provided.create(**params)
    radii, prediction = certify_images(
        instance, model, split.x, split.y, perturbations, generator, provided.spec
    )
    return Certificates(
        radius=radii.radius,
        label=split.y,
        prediction=prediction,
        certifier=(name,) * len(split.y),
        confidence=radii.confidence,
        norm=perturbations.norm,
        smoothed=provided.spec.smoothed,
    )


def _better(first: Certificates, second: Certificates) -> Certificates:
    """The larger radius of each image."""
    larger = (second.radius > first.radius).tolist()
    names = zip(first.certifier, second.certifier, larger, strict=True)
    return Certificates(
        radius=torch.maximum(first.radius, second.radius),
        label=first.label,
        prediction=first.prediction,
        certifier=tuple(other if more else own for own, other, more in names),
        confidence=min(first.confidence, second.confidence),
        norm=first.norm,
        smoothed=first.smoothed,
    )
