"""First-party classical models: a small convolutional network and a Fourier network."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

_PAPER = "arXiv:2404.16154"
_PUBLISHED = "as published"


def _convnet(name: str, description: str, tuning: str, recipe: Recipe) -> ModelSpec:
    return ModelSpec(
        name=name,
        description=description,
        factory="qbench_classical.models:ConvNet",
        family="classical",
        structure="convnet",
        recipe=recipe,
        variant_of=None if name == "convnet" else "convnet",
        tuning=tuning,
        paper=_PAPER if name == "convnet" else "",
    )


def _fourier(name: str, description: str, tuning: str, recipe: Recipe) -> ModelSpec:
    return ModelSpec(
        name=name,
        description=description,
        factory="qbench_classical.models:Fourier",
        family="classical",
        structure="sine-network",
        recipe=recipe,
        variant_of=None if name == "fourier" else "fourier",
        tuning=tuning,
        paper=_PAPER if name == "fourier" else "",
    )


@hookimpl
def qbench_models() -> Iterable[ModelSpec]:
    """The two classical networks of the reference paper, trained longer, and made robust."""
    longer = "not tuned: the published recipe of {} with 100 epochs"
    attacked = "not tuned: the published recipe of {} on images attacked at the ranking budget"
    certified = "step size and λ chosen on 200 of the training images, by certified accuracy"
    yield _convnet(
        "convnet",
        "one 5x5 convolution (6 channels), max-pool, linear; 20 epochs",
        _PUBLISHED,
        Recipe(),
    )
    yield _fourier(
        "fourier",
        "32 trained frequencies, sine and cosine read linearly; 20 epochs",
        _PUBLISHED,
        Recipe(),
    )
    yield _convnet(
        "convnet-ep100",
        "convnet, trained as convnet for 100 epochs",
        longer.format("convnet"),
        Recipe(epochs=100),
    )
    yield _fourier(
        "fourier-ep100",
        "fourier, trained as fourier for 100 epochs",
        longer.format("fourier"),
        Recipe(epochs=100),
    )
    yield _convnet(
        "convnet-at",
        "convnet, adversarially trained at ε = 0.1, 20 epochs",
        attacked.format("convnet"),
        Recipe(adversarial_eps=0.1),
    )
    yield _fourier(
        "fourier-at",
        "fourier, adversarially trained at ε = 0.1, 20 epochs",
        attacked.format("fourier"),
        Recipe(adversarial_eps=0.1),
    )
    yield _convnet(
        "convnet-cert",
        "convnet, trained for certificates, 100 epochs",
        certified,
        Recipe(epochs=100, learning_rate=1e-2, regularisation=1e-5),
    )
    yield _fourier(
        "fourier-cert",
        "fourier, trained for certificates, 100 epochs",
        certified,
        Recipe(epochs=100, learning_rate=1e-2, regularisation=3e-6),
    )
