"""A whole run, drawn from a plausible distribution without training anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from synthetic import Fake, Run

from qbench.records.record import (
    LipschitzMetrics,
    TrainingMetrics,
)

# The attacks of a large run by how much of its ε each makes use of.
ATTACKS = {
    "pgd": 0.95,
    "fgsm": 0.7,
    "mifgsm": 0.85,
    "pgd:restarts=5:steps=100": 0.98,
    "apgd-ce": 0.97,
    "apgd-dlr": 0.98,
    "apgd-t": 1.0,
    "fab": 0.96,
    "deepfool": 0.8,
    "square": 0.9,
    "art-hopskipjump": 0.75,
    "standard": 1.0,
}


MODELS = (
    Fake("reup", "quantum", 1536, 0.10, 20, 70.0),
    Fake("reup-ep100", "quantum", 1536, 0.08, 100, 105.0),
    Fake("reup-0.1", "quantum", 1536, 0.14, 20, 18.0),
    Fake("reup-0.1-ep100", "quantum", 1536, 0.15, 100, 19.0),
    Fake("reup-0.2", "quantum", 1536, 0.16, 20, 13.5),
    Fake("reup-0.2-ep100", "quantum", 1536, 0.17, 100, 11.8),
    Fake("amplitude", "quantum", 768, 0.13, 20),
    Fake("convnet", "classical", 1024, 0.11, 20, 20.2, "vector"),
    Fake("fourier", "classical", 8448, 0.07, 20, 25.4, "vector"),
)


TRAINED = (
    Fake("reup-at", "quantum", 1536, 0.15, 20, 40.0, variant_of="reup"),
    Fake("amplitude-at", "quantum", 768, 0.19, 20, variant_of="amplitude"),
    Fake("convnet-at", "classical", 1024, 0.18, 20, 15.2, "vector", "convnet"),
    Fake("fourier-at", "classical", 8448, 0.1, 20, 12.4, "vector", "fourier"),
)


def full_run(
    models: Sequence[Fake] = MODELS,
    seeds: Sequence[int] = range(5),
    budgets: Sequence[float] = (0.05, 0.1, 0.2),
    attacks: Sequence[str] = ("pgd",),
    n: int = 200,
    certified: bool = False,
    checks: bool = True,
) -> Run:
    """A run of every model with every seed: attacked, transferred, bounded and diagnosed.

    Where it is `certified` too, images of an ε at which they fall have radii of about half of it.
    """
    run = Run(n)
    generator = np.random.default_rng(20)
    for model in models:
        for seed in seeds:
            _train(run, model, seed, generator)
            _certify(run, model, seed, generator)
            clean = generator.random(n) < 0.985
            # The ε at which each image falls; attacks agree on which images are weak.
            limits = generator.normal(model.strength * generator.normal(1, 0.08), 0.03, n)
            for attack in attacks:
                found = limits / ATTACKS.get(attack, 1.0) + generator.normal(0, 0.004, n)
                for eps in budgets:
                    run.attacked(model, seed, eps, clean, found > eps, attack)
                for source in models:
                    if source is not model and 0.1 in budgets:
                        kinship = 0.7 if source.family == model.family else 0.4
                        moved = found + generator.normal(0, 0.02, n) > kinship * 0.1
                        run.attacked(model, seed, 0.1, clean, moved, attack, source)
            if certified:
                _certify_images(run, model, seed, clean, limits)
            if checks:
                run.checked(model, seed)
    return run


def _certify_images(
    run: Run, model: Fake, seed: int, clean: NDArray[np.bool_], limits: NDArray[np.float64]
) -> None:
    generator = np.random.default_rng([seed, len(model.name)])
    eps = {"linf": (0.01, 0.02, 0.05, 0.1), "l2": (0.1, 0.5, 1.0)}
    for norm, size in (("linf", 1.0), ("l2", 16.0)):
        for certifier, share in (("global", 0.2), ("local", 0.5)):
            found = share * size * limits * generator.uniform(0.5, 1.0, len(limits))
            radius = np.where(clean, np.clip(found, 0, None), 0.0)
            run.certified(model, seed, radius, clean, certifier=certifier, norm=norm, eps=eps[norm])
        noisy = np.full(len(limits), 0.03 * size)
        run.certified(
            model, seed, noisy, clean, certifier="smoothing", norm=norm, eps=eps[norm],
            smoothed=True, confidence=0.999,
        )  # fmt: skip


def _train(run: Run, model: Fake, seed: int, generator: np.random.Generator) -> None:
    epochs = np.arange(1, model.epochs + 1)
    rise = 0.985 - 0.7 * np.exp(-epochs / generator.uniform(0.8, 2.0))
    accuracy = np.clip(
        np.round((rise + generator.normal(0, 0.004, model.epochs)) * 200) / 200, 0, 1
    )
    run.add(
        "training",
        model,
        seed,
        metrics=TrainingMetrics(
            loss=list(map(float, 1.4 - rise)),
            test_accuracy=list(map(float, accuracy)),
            weights_from="training",
        ),
    )


def _certify(run: Run, model: Fake, seed: int, generator: np.random.Generator) -> None:
    if model.bound is None:
        reason = "no certifier covers a amplitude-circuit"
        run.add("lipschitz", model, seed, status="skipped", reason=reason)
        return
    bound = model.bound * generator.normal(1.0, 0.03)
    run.add(
        "lipschitz",
        model,
        seed,
        certifier="spectral" if model.family == "classical" else "circuit",
        metrics=LipschitzMetrics(
            bound=bound,
            sampled_jacobian=bound / generator.uniform(4.0, 9.0),
            points=600,
            scope=model.scope,
        ),
    )
