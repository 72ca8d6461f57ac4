"""Certified radii of single images: what no perturbation up to a size can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qbench.errors import Unsupported, VerificationError
from qbench.evaluation.scoring import predict, predicted
from qbench.evaluation.task import Found, Inputs, Task, TaskContext, device_of, uncovered
from qbench.interfaces import Radii, RadiusCertifier
from qbench.records.identity import RadiiId
from qbench.records.record import Device, RadiiMetrics
from qbench.records.results import Result
from qbench.specs import CertifierSpec, Norm, Perturbations
from qbench.text import one_line

BUDGETS: Mapping[Norm, tuple[float, ...]] = {
    "linf": (0.01, 0.02, 0.05, 0.1, 0.2),
    "l2": (0.1, 0.2, 0.5, 1.0, 2.0),
}  # at which certified accuracy is reported, beside those of the protocol


@dataclass(frozen=True, kw_only=True)
class RadiiTask(Task):
    """Certify single images in one norm. Needs the training."""

    identity: RadiiId

    def run(self, context: TaskContext, inputs: Inputs) -> Found:
        """Run the certifier, and check its claims against the model's own predictions."""
        asked, certifier = self.identity, self.identity.certifier
        if certifier is None:
            raise uncovered(context, asked.norm)
        provided = context.registry.get("certifier", certifier.name)
        if asked.norm not in provided.spec.norms:
            raise Unsupported(f"{certifier.name} certifies nothing in {asked.norm}")
        if context.provided.spec.stochastic:
            name = asked.model.name
            raise Unsupported(f"{name} gives random scores: no certificate holds for them")
        perturbations = Perturbations(
            norm=asked.norm, eps=tuple(asked.eps), box=context.protocol.box
        )
        trained, y = context.trained(inputs), context.split.y
        model, device = self.certified(context, trained)
        generator = torch.Generator().manual_seed(asked.random_seed)
        instance, spec = provided.create(**certifier.params), provided.spec
        radii, prediction = certify_images(
            instance, model, context.split.x, y, perturbations, generator, spec
        )
        return Found(
            metrics=RadiiMetrics(
                clean_accuracy=float((prediction == y).double().mean()),
                certified_accuracy=[
                    float((radii.radius >= eps).double().mean()) for eps in asked.eps
                ],
                confidence=radii.confidence,
                smoothed=spec.smoothed,
                detail=None if radii.detail is None else one_line(radii.detail),
                source=one_line(provided.spec.source),
            ),
            weights=trained.record.weights or "",
            columns={
                "label": y.short().numpy(),
                "prediction": prediction.short().numpy(),
                "radius": radii.radius.numpy(),
            },
            device=device,
        )

    def certified(self, context: TaskContext, trained: Result) -> tuple[nn.Module, Device | None]:
        """The model that is certified, and where its scores come from; None for exact ones."""
        if self.identity.engine is None:
            return context.ideal(trained), None
        model = context.model(trained)
        return model, device_of(model)


def certify_images(
    certifier: RadiusCertifier,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    perturbations: Perturbations,
    generator: torch.Generator,
    spec: CertifierSpec | None = None,
) -> tuple[Radii, Tensor]:
    """The radii of images x (n, features) with labels y (n,), and the model's predictions (n,).

    Args:
        certifier: What proves them.
        model: The model.
        x, y: Images and labels.
        perturbations: Norm, budgets and box.
        generator: Of the certifier's randomness.
        spec: The certifier's. The smoothed version of a model may be right where the model itself
            is wrong; and where draws of shots misread an image whose expected scores are certified,
            it counts as misclassified, with a radius of 0. None for one that proves.

    Raises:
        Unsupported: The certifier does not cover the model.
        VerificationError: Radii that are not numbers of at least 0, one for each image; or an
            image that the model misclassifies has a radius.
    """
    prediction = predicted(predict(model, x), y)
    radii = certifier(model, x.clone(), y.clone(), perturbations, generator)
    name, radius = type(certifier).__name__, radii.radius
    if radius.shape != y.shape or radius.dtype != torch.float64:
        raise VerificationError(
            f"{name} returned radii {tuple(radius.shape)} {radius.dtype} for {len(y)} images: "
            "expected one float64 number for each"
        )
    bad = ~(radius >= 0)
    if bool(bad.any()):
        raise VerificationError(f"{name}: the radius of image {int(bad.nonzero()[0])} is no radius")
    wrong = (prediction != y) & (radius > 0)
    if spec is not None and spec.counted:
        radii = replace(radii, radius=torch.where(wrong, 0.0, radius))
    elif bool(wrong.any()) and (spec is None or not spec.smoothed):
        image = int(wrong.nonzero()[0])
        raise VerificationError(
            f"{name}: image {image} is misclassified and yet certified within {radius[image]:.6g}"
        )
    return radii, prediction
