"""First-party classical models: a small convolutional network and a Fourier network."""

from __future__ import annotations

from collections.abc import Iterable

from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

_PAPER = "arXiv:2404.16154"


@hookimpl
def qbench_models() -> Iterable[ModelSpec]:
    """The two classical networks of the reference paper, and adversarially trained ones."""
    yield ModelSpec(
        name="convnet",
        description="one 5x5 convolution (6 channels), max-pool, linear; 20 epochs",
        factory="qbench_classical.models:ConvNet",
        family="classical",
        structure="convnet",
        paper=_PAPER,
    )
    yield ModelSpec(
        name="fourier",
        description="32 trained frequencies, sine and cosine read linearly; 20 epochs",
        factory="qbench_classical.models:Fourier",
        family="classical",
        structure="sine-network",
        paper=_PAPER,
    )
    yield ModelSpec(
        name="convnet-at",
        description="convnet, adversarially trained at ε = 0.1, 20 epochs",
        factory="qbench_classical.models:ConvNet",
        family="classical",
        structure="convnet",
        recipe=Recipe(adversarial_eps=0.1),
        variant_of="convnet",
    )
    yield ModelSpec(
        name="fourier-at",
        description="fourier, adversarially trained at ε = 0.1, 20 epochs",
        factory="qbench_classical.models:Fourier",
        family="classical",
        structure="sine-network",
        recipe=Recipe(adversarial_eps=0.1),
        variant_of="fourier",
    )
