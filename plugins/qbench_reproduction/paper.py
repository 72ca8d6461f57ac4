"""What Wendlinger, Tscharke and Debus measured and say, arXiv:2404.16154 (QCE 2024)."""

from __future__ import annotations

from dataclasses import dataclass

NAME = "wendlinger2024"
TITLE = (
    "A Comparative Analysis of Adversarial Robustness for Quantum and Classical Machine Learning "
    "Models"
)
AUTHORS = "Wendlinger, Tscharke and Debus"
REFERENCE = "arXiv:2404.16154"

THEIRS = "wendlinger2024"  # the protocol of the authors' code
OURS = "glyphs-linf-v1"  # the leaderboard's
EPS = 0.1  # of transfer and of the pictures

CIRCUITS = ("reup", "reup-0.1", "reup-0.2")  # by λ = 0, 0.1 and 0.2
LAMBDAS = (0.0, 0.1, 0.2)
LONGER = tuple(f"{name}-ep100" for name in CIRCUITS)  # the same after 100 epochs instead of 20
MODELS = (*CIRCUITS, *LONGER, "amplitude", "convnet", "fourier")

# What is attacked with what in each protocol: attacks, and budgets (the protocol's where None).
ATTACKS = {
    THEIRS: ((("pgd",), None),),
    OURS: ((("pgd",), None), (("apgd-dlr",), (EPS,))),
}


@dataclass(frozen=True)
class Bound:
    """A number of Table I.

    Args:
        label: The paper's name of the model.
        model: Ours.
        certifier: What computes the number.
        value: The paper's.
    """

    label: str
    model: str
    certifier: str
    value: float


TABLE_ONE = (
    Bound("ReUp(0.0), 20 epochs", "reup", "circuit-bound", 73.11),
    Bound("ReUp(0.0), 100 epochs", "reup-ep100", "circuit-bound", 106.33),
    Bound("ReUp(0.1), 20 epochs", "reup-0.1", "circuit-bound", 18.18),
    Bound("ReUp(0.1), 100 epochs", "reup-0.1-ep100", "circuit-bound", 19.77),
    Bound("ReUp(0.2), 20 epochs", "reup-0.2", "circuit-bound", 13.50),
    Bound("ReUp(0.2), 100 epochs", "reup-0.2-ep100", "circuit-bound", 11.83),
    Bound("Fourier, 20 epochs", "fourier", "lipsdp-neuron", 25.38),
    Bound("ConvNet, 20 epochs", "convnet", "spectral-product", 20.24),
)
