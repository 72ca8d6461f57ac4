"""Typed results. A leaderboard is a pure function of records; a record is one of a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1  # of records; independent of the package's version

TaskKind = Literal[
    "training", "robust-accuracy", "transfer-accuracy", "lipschitz", "certification", "diagnosis"
]
Flag = Literal[
    "attack-rejected",  # its result left the ball or the box, was not finite, or of another shape
    "zero-gradients",  # the loss has no gradient at more than a tenth of the images
    "unstable-outputs",  # two passes over one image differ
    "black-box-stronger",  # an attack without gradients breaks more images than those with
    "transfer-stronger",  # images made for another model break more images
    "eps-not-monotone",  # accuracy rises with ε
    "steps-not-monotone",  # accuracy rises with more steps
    "restarts-gain",  # more restarts break more images: the budget is too small
    "large-eps-not-chance",  # accuracy stays above chance where every image can become any other
]
Status = Literal["done", "skipped", "failed"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ProtocolRef(_Frozen):
    """A protocol by name and content."""

    name: Name
    sha256: Sha256


class DatasetRef(_Frozen):
    """The images used: a data set, its split, and how many after the protocol's selection."""

    name: Name
    version: int
    sha256: Sha256
    split: Literal["train", "test"]
    n: int = Field(ge=1)


class ModelRef(_Frozen):
    """A trained model: its spec, seed and weights."""

    model: Name
    plugin: str
    version: str
    family: Literal["quantum", "classical"]
    structure: str
    parameters: int | None
    seed: int
    weights_sha256: Sha256 | None = None


class AttackRef(_Frozen):
    """An attack and every parameter it ran with; `label` is how it is shown."""

    name: Name
    label: str
    plugin: str
    version: str
    params: dict[str, int | float | bool | str | None]


class CertifierRef(_Frozen):
    """A certifier and where its bound comes from."""

    name: Name
    plugin: str
    version: str
    source: str


class ThreatModelRef(_Frozen):
    """What the adversary may do."""

    norm: Literal["linf", "l2"]
    eps: float = Field(ge=0)
    box: tuple[float, float] | None
    goal: Literal["untargeted", "targeted"]


class PerturbationsRef(_Frozen):
    """What a certificate of single images speaks about, and the budgets it is reported at."""

    norm: Literal["linf", "l2"]
    eps: list[Annotated[float, Field(gt=0)]]
    box: tuple[float, float] | None


class EngineRef(_Frozen):
    """Where the circuits ran; null for models without one.

    `exact` says that scores are those of the circuit itself, without noise or shots. `crafted_on`
    tells whether an attack saw this engine or its exact twin, the same circuit simulated.

    Of a device, real or simulated with its noise: its name, when it was calibrated, when the jobs
    ran and their ids (ISO 8601; null and none where they ran in this process), what was done
    against errors, and the signal scale: the slope of its scores on the exact ones.
    """

    name: str
    shots: int | None
    exact: bool = True
    crafted_on: Literal["engine", "twin"] = "engine"
    device: str | None = None
    calibrated: str | None = None
    date: str | None = None
    job_ids: list[str] = []
    mitigation: dict[str, bool | int | str] = {}
    signal_scale: float | None = None


class Cost(_Frozen):
    """What a task took. Wall time is the only field of a record that differs between two runs."""

    wall_s: float
    forward: int = 0
    gradient: int = 0


class TrainingMetrics(_Frozen):
    """One entry an epoch: mean training loss, and accuracy on the test images."""

    loss: list[float]
    test_accuracy: list[Share]
    retrained: bool


class AccuracyMetrics(_Frozen):
    """Accuracy of the target on clean and on adversarial images.

    `adversarial_accuracy` counts every adversarial image classified correctly (the entry of a
    transfer matrix); `robust_accuracy` only those whose clean image is classified correctly too.
    `wilson95` is the 95 % Wilson interval of the latter.
    """

    clean_accuracy: Share
    adversarial_accuracy: Share
    robust_accuracy: Share
    wilson95: tuple[Share, Share]


class DiagnosisMetrics(_Frozen):
    """What was measured to look for attacks that are too weak.

    `values` holds robust accuracies of the probes `base`, `more_steps`, `more_restarts` and
    `large_eps`, and the shares of images with `zero_gradients` and `unstable_outputs`; `chance` is
    one over the number of classes.
    """

    images: int = Field(ge=1)
    chance: Share
    values: dict[str, Share]


class LipschitzMetrics(_Frozen):
    """A proven bound L and the largest Jacobian norm seen, which may never exceed it.

    Scope `vector`: of all scores together (spectral norm); `score`: of each single score;
    `margin`: of every difference of two scores. The bound holds where ‖x‖₂ is at least
    `least_norm`.
    """

    bound: float = Field(ge=0)
    sampled_jacobian: float = Field(ge=0)
    points: int
    scope: Literal["vector", "score", "margin"]
    least_norm: float = Field(default=0.0, ge=0)
    detail: str | None = None


class CertificationMetrics(_Frozen):
    """Share of images that are classified correctly and certified at each budget.

    `certified_accuracy` has one entry for each of the record's `perturbations.eps`. `confidence` is
    the probability with which the radius of an image is right, 1 for a proof. What is certified is
    the model, or its smoothed version where `smoothed` says so.
    """

    clean_accuracy: Share
    certified_accuracy: list[Share]
    confidence: Share
    smoothed: bool
    detail: str | None = None


class FileRef(_Frozen):
    """A file beside the record, by name and content."""

    file: Name
    sha256: Sha256


class Record(_Frozen):
    """The result of one task.

    `images` refers to the side file with one row per image: index, label, clean and adversarial
    prediction, clean and adversarial margin (score of the label minus the best other), and ℓ∞ and
    ℓ2 norm of the perturbation, and where source and target are one model a few adversarial images
    as examples. For a certification it holds index, label, prediction and radius. `artifact`
    refers to what later tasks need (weights, adversarial inputs); it stays in the run's folder and
    is not part of a published leaderboard.
    """

    schema_version: Literal[1] = 1
    task: TaskKind
    key: Sha256
    status: Status
    reason: str | None = None
    protocol: ProtocolRef
    dataset: DatasetRef
    target: ModelRef
    source: ModelRef | None = None
    attack: AttackRef | None = None
    certifier: CertifierRef | None = None
    threat_model: ThreatModelRef | None = None
    perturbations: PerturbationsRef | None = None
    engine: EngineRef | None = None
    metrics: (
        TrainingMetrics
        | AccuracyMetrics
        | LipschitzMetrics
        | CertificationMetrics
        | DiagnosisMetrics
        | None
    ) = None
    flags: list[Flag] = []
    cost: Cost
    environment: dict[str, str]
    images: FileRef | None = None
    artifact: FileRef | None = None

    def to_json(self) -> str:
        """The record as it is stored: sorted keys, one trailing newline."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Parse and validate. Raises `pydantic.ValidationError`."""
        return cls.model_validate_json(text)


def canonical_sha256(data: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
