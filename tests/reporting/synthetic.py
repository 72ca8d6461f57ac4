"""Synthetic records and per-image outcomes, and what is asked of them."""

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
    CertificationMetrics,
    CertifierRef,
    Cost,
    DatasetRef,
    DiagnosisMetrics,
    EngineRef,
    FileRef,
    Flag,
    ModelRef,
    PerturbationsRef,
    ProtocolRef,
    Record,
    TaskKind,
    ThreatModelRef,
)
from qbench.reporting.board import Board, Row
from qbench.reporting.table import collect

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


QUANTUM = Fake("qubit", "quantum", 3, 0.1, 1)
CLASSICAL = Fake("line", "classical", 5, 0.1, 1)


def bits(pattern: str) -> np.ndarray[Any, Any]:
    """`"110"` as correct, correct, wrong."""
    return np.array([character == "1" for character in pattern])


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
            "cost": _cost(attack, self.n),
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
            "linf": np.full(self.n, eps, dtype=np.float32),
            "l2": np.full(self.n, 16 * eps, dtype=np.float32),
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

    def certified(
        self,
        target: Fake,
        seed: int,
        radius: Sequence[float],
        correct: NDArray[np.bool_] | None = None,
        *,
        certifier: str = "proof",
        norm: Literal["linf", "l2"] = "linf",
        eps: Sequence[float] = (0.01, 0.1),
        smoothed: bool = False,
        confidence: float = 1.0,
        **parts: Any,
    ) -> Record:
        """A certification of given radii; misclassified images have none unless smoothed."""
        label = np.arange(self.n, dtype=np.int64) % 4
        right = np.ones(self.n, dtype=np.bool_) if correct is None else correct
        columns = {
            "index": np.arange(self.n),
            "label": label,
            "prediction": np.where(right, label, (label + 1) % 4),
            "radius": np.asarray(radius, dtype=np.float64),
        }
        return self.add(
            "certification",
            target,
            seed,
            certifier=certifier,
            key=parts.pop("key", sha("certification", target.name, seed, certifier, norm, eps)),
            columns=columns,
            perturbations=perturbations(norm, eps),
            metrics=CertificationMetrics(
                clean_accuracy=float(right.mean()),
                certified_accuracy=[float((columns["radius"] >= e).mean()) for e in eps],
                confidence=confidence,
                smoothed=smoothed,
                detail="σ = 0.25" if smoothed else None,
            ),
            **parts,
        )

    def diagnosed(
        self, target: Fake, seed: int, *flags: Flag, again: bool = False, **values: float
    ) -> Record:
        """A diagnosis with its flags; the probes not given find nothing to doubt."""
        measured = {"base": 0.5, "more_steps": 0.5, "more_restarts": 0.5, "large_eps": 0.0}
        measured |= {"zero_gradients": 0.0, "unstable_outputs": 0.0} | values
        return self.add(
            "diagnosis",
            target,
            seed,
            attack="pgd",
            key=sha("diagnosis", target.name, seed, again),
            flags=list(flags),
            metrics=DiagnosisMetrics(images=min(self.n, 100), chance=0.25, values=measured),
        )


def reference(model: Fake, seed: int, loaded: bool = True) -> ModelRef:
    """The model with its seed; what was not loaded has no weights and no count of parameters."""
    return ModelRef(
        model=model.name,
        plugin=f"qbench_{model.family}",
        version="0.1.0",
        family=model.family,
        structure=f"synthetic-{model.name.split('-')[0]}",
        parameters=model.parameters if loaded else None,
        seed=seed,
        weights_sha256=sha(model.name, seed) if loaded else None,
    )


def perturbations(
    norm: Literal["linf", "l2"] = "linf", eps: Sequence[float] = (0.01, 0.1)
) -> PerturbationsRef:
    return PerturbationsRef(norm=norm, eps=list(eps), box=(0.0, 1.0))


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


def _attack(label: str, eps: float | None) -> AttackRef:
    name, *given = label.split(":")
    params: dict[str, int | float | bool | str | None] = {"steps": 40, "restarts": 1}
    params |= {
        key: int(value) if value.isdigit() else value
        for key, _, value in (part.partition("=") for part in given)
    }
    if eps is not None:
        params["step_size"] = 2.5 * eps / 40
    return AttackRef(
        name=name, label=label, plugin="qbench_attacks", version="0.1.0", params=params
    )


def _cost(label: str | None, n: int) -> Cost:
    gradient = 0 if label is None or label.startswith(("square", "art-hop")) else 40 * n
    return Cost(wall_s=1.0, forward=41 * n, gradient=gradient)


def _threat(eps: float) -> ThreatModelRef:
    return ThreatModelRef(norm="linf", eps=eps, box=(0.0, 1.0), goal="untargeted")


def _certifier(name: str) -> CertifierRef:
    return CertifierRef(
        name=name, plugin="qbench_certificates", version="0.1.0", source=f"Source of {name}, Eq. 1"
    )


def board_of(run: Run, **options: Any) -> Board:
    return collect(run.records, run.images, **options)


def row_of(board: Board, model: Fake) -> Row:
    return next(row for row in board.rows if row.model.name == model.name)
