"""Synthetic but plausible records and per-image outcomes of a run, without training anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qbench.metrics import wilson_interval
from qbench.records import (
    AccuracyMetrics,
    AttackRef,
    CertifierRef,
    Cost,
    DatasetRef,
    EngineRef,
    FileRef,
    LipschitzMetrics,
    ModelRef,
    ProtocolRef,
    Record,
    TaskKind,
    ThreatModelRef,
    TrainingMetrics,
)

Columns = dict[str, NDArray[Any]]
CLASS_NAMES = ("-", "+", "⊢", "⊣")


@dataclass(frozen=True)
class Fake:
    """A model of the synthetic run; `strength` is the ε at which half of the images fall."""

    name: str
    family: Literal["quantum", "classical"]
    parameters: int
    strength: float
    epochs: int
    bound: float | None = None
    scope: Literal["vector", "score"] = "score"


MODELS = (
    Fake("reup", "quantum", 1536, 0.10, 20, 70.0),
    Fake("reup-ep100", "quantum", 1536, 0.08, 100, 105.0),
    Fake("reup-0.1", "quantum", 1536, 0.14, 20, 18.0),
    Fake("reup-0.1-ep100", "quantum", 1536, 0.15, 100, 19.0),
    Fake("reup-0.2", "quantum", 1536, 0.16, 20, 13.5),
    Fake("reup-0.2-ep100", "quantum", 1536, 0.17, 100, 11.8),
    Fake("amplitude", "quantum", 768, 0.22, 20),
    Fake("convnet", "classical", 1024, 0.11, 20, 20.2, "vector"),
    Fake("fourier", "classical", 8448, 0.03, 20, 25.4, "vector"),
)


def sha(*parts: object) -> str:
    """A SHA-256 that stands for whatever the parts stand for."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def glyph(label: int, shift: float = 0.0, width: float = 1.3) -> NDArray[np.float32]:
    """(16, 16) in [0, 1]: a blurred glyph of one of the four classes."""
    rows, columns = np.mgrid[0:16, 0:16] - 7.5 - shift
    horizontal = np.exp(-((rows / width) ** 2))
    vertical = np.exp(-((columns / width) ** 2))
    half = {0: np.full((16, 16), True), 1: np.full((16, 16), True), 2: columns > 0, 3: columns < 0}
    image = np.where(half[label], horizontal, 0.0)
    return np.clip(image if label == 0 else np.maximum(image, vertical), 0, 1).astype(np.float32)


@dataclass
class Run:
    """Records of a run and their per-image outcomes by key."""

    n: int = 200
    records: list[Record] = field(default_factory=list)
    columns: dict[str, Columns] = field(default_factory=dict)

    def images(self, record: Record) -> Mapping[str, NDArray[Any]]:
        """What `Store.images` would return."""
        return self.columns[record.key]

    def add(self, task: TaskKind, target: Fake, seed: int, **parts: Any) -> Record:
        """A record with everything that does not matter filled in."""
        status = parts.setdefault("status", "done")
        attack, eps, source = (
            parts.pop("attack", None),
            parts.pop("eps", None),
            parts.pop("source", None),
        )
        certifier, columns = parts.pop("certifier", None), parts.pop("columns", None)
        key = parts.pop("key", sha(task, target.name, seed, attack, eps, source, certifier))
        given = {
            "target": reference(target, seed, loaded=status == "done"),
            "source": reference(source, seed, loaded=False) if source else None,
            "protocol": ProtocolRef(name="glyphs-linf-v1", sha256=sha("protocol")),
            "dataset": DatasetRef(
                name="glyphs", version=1, sha256=sha("data"), split="test", n=self.n
            ),
            "attack": attack and _attack(attack, eps),
            "threat_model": None if eps is None else _threat(eps),
            "certifier": certifier and _certifier(certifier),
            "engine": EngineRef(name="torch", shots=None) if target.family == "quantum" else None,
            "cost": Cost(wall_s=1.0),
            "environment": {"python": "3.11.7", "torch": "2.13.0"},
            "images": None if columns is None else FileRef(file=f"{key}.npz", sha256=sha(key)),
        }
        record = Record(task=task, key=key, **(given | parts))
        self.records.append(record)
        if columns is not None:
            self.columns[key] = columns
        return record

    def attacked(
        self,
        target: Fake,
        seed: int,
        eps: float,
        clean: NDArray[np.bool_],
        adversarial: NDArray[np.bool_],
        attack: str = "pgd",
        source: Fake | None = None,
        **parts: Any,
    ) -> Record:
        """A robust- or transfer-accuracy record of given outcomes, true where correct."""
        label = np.arange(self.n, dtype=np.int64) % 4
        columns = {
            "index": np.arange(self.n),
            "label": label,
            "clean_prediction": np.where(clean, label, (label + 1) % 4),
            "adversarial_prediction": np.where(adversarial, label, (label + 1) % 4),
        }
        if source is None:
            columns |= examples(seed, eps, self.n)
        robust = int((clean & adversarial).sum())
        return self.add(
            "robust-accuracy" if source is None else "transfer-accuracy",
            target,
            seed,
            attack=attack,
            eps=eps,
            source=source,
            columns=columns,
            metrics=AccuracyMetrics(
                clean_accuracy=float(clean.mean()),
                adversarial_accuracy=float(adversarial.mean()),
                robust_accuracy=robust / self.n,
                wilson95=wilson_interval(robust, self.n),
            ),
            **parts,
        )


def reference(model: Fake, seed: int, loaded: bool = True) -> ModelRef:
    """The model with its seed; what was not loaded has no weights and no count of parameters."""
    return ModelRef(
        model=model.name,
        plugin=f"qbench_{model.family}",
        version="0.1.0",
        family=model.family,
        structure="synthetic",
        parameters=model.parameters if loaded else None,
        seed=seed,
        weights_sha256=sha(model.name, seed) if loaded else None,
    )


def examples(seed: int, eps: float, n: int) -> Columns:
    """The first image of each class, and it perturbed by at most ε a pixel."""
    generator = np.random.default_rng([seed, round(eps * 1000)])
    x = np.stack([glyph(label).ravel() for label in range(min(4, n))])
    noise = generator.choice([-eps, eps], x.shape)
    return {
        "example_index": np.arange(len(x)),
        "example_x": x,
        "example_x_adv": np.clip(x + noise, 0, 1).astype(np.float32),
    }


def full_run(
    models: Sequence[Fake] = MODELS,
    seeds: Sequence[int] = range(5),
    budgets: Sequence[float] = (0.05, 0.1, 0.2),
    attacks: Sequence[str] = ("pgd",),
    n: int = 200,
) -> Run:
    """A run of every model with every seed, attacked, transferred and certified."""
    run = Run(n)
    generator = np.random.default_rng(20)
    for model in models:
        for seed in seeds:
            _train(run, model, seed, generator)
            _certify(run, model, seed, generator)
            clean = generator.random(n) < 0.985
            for attack in attacks:
                for eps in budgets:
                    run.attacked(model, seed, eps, clean, _fall(model, eps, n, generator), attack)
                for source in models:
                    if source is not model and 0.1 in budgets:
                        kinship = 0.4 if source.family == model.family else 0.15
                        correct = _fall(model, 0.1 * kinship, n, generator)
                        run.attacked(model, seed, 0.1, clean, correct, attack, source)
    return run


def _fall(model: Fake, eps: float, n: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    strength = model.strength * generator.normal(1.0, 0.08)
    return generator.random(n) < 1 / (1 + np.exp((eps - strength) / 0.018))


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
            loss=list(1.4 - rise), test_accuracy=list(accuracy), retrained=False
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


def _attack(name: str, eps: float | None) -> AttackRef:
    params: dict[str, int | float | bool | str | None] = {"steps": 40, "restarts": 1}
    if eps is not None:
        params["step_size"] = 2.5 * eps / 40
    return AttackRef(name=name, plugin="qbench_attacks", version="0.1.0", params=params)


def _threat(eps: float) -> ThreatModelRef:
    return ThreatModelRef(norm="linf", eps=eps, box=(0.0, 1.0), goal="untargeted")


def _certifier(name: str) -> CertifierRef:
    return CertifierRef(
        name=name, plugin="qbench_certificates", version="0.1.0", source=f"Source of {name}, Eq. 1"
    )
