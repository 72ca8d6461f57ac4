"""What certificates cost: every certifier on a model of the zoo, and circuits that grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import qbench
from qbench.datasets.base import Split
from qbench.errors import Unsupported
from qbench.evaluation.scoring import predict
from qbench.interfaces import RadiusCertifier
from qbench.registry import load_registry
from qbench.specs import Perturbations
from qbench_bench.race import best_times
from qbench_bench.report import CertifierTiming, Scaling
from qbench_quantum.models import ReUpload

MODELS = ("reup-0.2", "amplitude-at", "convnet-at", "fourier-at")  # one of each structure
SHOWN = 0.05  # the budget at which certified accuracy stands beside the time
_PERTURBATIONS = Perturbations(norm="linf", eps=(0.01, 0.02, 0.05, 0.1, 0.2), box=(0.0, 1.0))
_GROWING = "circuit-taylor-2"  # the dearest for circuits
_FEATURES = 96  # divides the rotations of every circuit below
_TURN = 4.0  # Σ |w| of the circuits that grow
_IMAGES, _LAYERS, _QUBITS = 16, 32, 8  # what stays fixed while something else grows
_SIZES = {
    "images": (8, 16, 32, 64),
    "trained models": (1, 2, 3, 4, 5),
    "layers": (8, 16, 32, 64),
    "qubits": (4, 6, 8, 10),
}


def time_certifiers(images: int, step: Callable[[str], None]) -> tuple[CertifierTiming, ...]:
    """Every certifier of single images in ℓ∞ on trained models, and PGD beside it.

    Args:
        images: How many of the test images.
        step: Told what comes next, once a model.
    """
    registry, test, found = load_registry(), qbench.load_dataset().test, []
    few, some = (Split(test.x[:n], test.y[:n]) for n in (2, images))
    for name in MODELS:
        step(f"certificates of {name}")
        structure, model = registry.get("model", name).spec.structure, qbench.load_model(name)
        attack_s, _ = _timed(partial(_attacked, model), few, some)
        for provided in (registry.get("certifier", c) for c in registry.all("certifier")):
            spec = provided.spec
            if "linf" not in spec.norms or not (spec.by_default and spec.covers(structure)):
                continue
            try:
                seconds, radii = _timed(partial(_radii, provided.create(), model), few, some)
            except Unsupported:  # a circuit of too many qubits
                continue
            certified = float((radii >= SHOWN).double().mean())
            found.append(CertifierTiming(spec.name, name, images, seconds, attack_s, certified))
    return tuple(found)


def time_growth(step: Callable[[str], None]) -> tuple[Scaling, ...]:
    """The dearest certifier of circuits while images, models, layers or qubits grow.

    The circuits have random angles and weights of the same sum, their labels are what they predict,
    and all are certified at the same budgets.
    """
    certifier: RadiusCertifier = load_registry().get("certifier", _GROWING).create()

    def run(seed: int, images: int, layers: int, qubits: int) -> None:
        model, x = _circuit(layers, qubits), _images(images, seed)
        _radii(certifier, model, Split(x, predict(model, x).argmax(1)))

    def several(count: int) -> None:
        for seed in range(count):
            run(seed, _IMAGES, _LAYERS, _QUBITS)

    series: dict[str, tuple[str, Callable[[int], None]]] = {
        "images": (
            f"{_QUBITS} qubits, {_LAYERS} layers",
            lambda n: run(0, n, _LAYERS, _QUBITS),
        ),
        "trained models": (f"{_IMAGES} images each", several),
        "layers": (f"{_IMAGES} images, {_QUBITS} qubits", lambda n: run(0, _IMAGES, n, _QUBITS)),
        "qubits": (f"{_IMAGES} images, {_LAYERS} layers", lambda n: run(0, _IMAGES, _LAYERS, n)),
    }
    found = []
    for what, (fixed, call) in series.items():
        step(f"certificates: {what}")
        call(_SIZES[what][0])  # compiles
        best = best_times({n: partial(call, n) for n in _SIZES[what]}, 0.0, 1)
        seconds = tuple(best[n].seconds for n in _SIZES[what])
        found.append(Scaling(what, fixed, _SIZES[what], seconds))
    return tuple(found)


def _radii(certifier: RadiusCertifier, model: nn.Module, data: Split) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return certifier(model, data.x, data.y, _PERTURBATIONS, generator).radius


def _attacked(model: nn.Module, data: Split) -> object:
    return qbench.evaluate(model, "pgd", SHOWN, data=data)


def _timed(call: Callable[[Split], Any], few: Split, some: Split) -> tuple[float, Any]:
    """Time for some images, and what is found, after a few have compiled what can be compiled."""
    call(few)
    started = time.perf_counter()
    found = call(some)
    return time.perf_counter() - started, found


def _circuit(layers: int, qubits: int) -> ReUpload:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ReUpload(qubits, layers, features=_FEATURES)
        nn.init.uniform_(model.theta, -torch.pi, torch.pi)
        nn.init.uniform_(model.w, -1.0, 1.0)
    with torch.no_grad():
        model.w.mul_(_TURN / model.w.abs().sum())
    return model.eval()


def _images(count: int, seed: int) -> Tensor:
    return torch.rand(count, _FEATURES, generator=torch.Generator().manual_seed(seed))
