"""Typed results. A report is a pure function of records; a record is one of a task.

A record holds what was measured (`task`, its identity), what came out (`status`, `metrics`), and
provenance. Per-image outcomes lie beside it, see `columns`; facts that all records of a model share
are its card's.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from qbench.model_names import ModelName
from qbench.records.identity import Identity, Kind
from qbench.records.schema import Count, Name, Positive, Scalar, Sha256, Share, Strict, Text
from qbench.specs import UNSTATED

Status = Literal["done", "skipped", "failed"]


class TrainingMetrics(Strict):
    """One entry an epoch: mean training loss, and accuracy on the test images.

    `weights_from` says whether the weights were trained in this run, read from a zoo, or handed in
    as a `file`, which is named without its folder; `initial` is the fingerprint of the untrained
    model.
    """

    loss: list[float]
    test_accuracy: list[Share]
    weights_from: Literal["training", "zoo", "file"]
    file: Text | None = None
    initial: Sha256 | None = None


class AccuracyMetrics(Strict):
    """Accuracy of the target on clean and on adversarial images.

    `adversarial_accuracy` counts every adversarial image classified correctly (the entry of a
    transfer matrix); `robust_accuracy` only those whose clean image is classified correctly too.

    The others are evidence about the attack. `unusable_gradients` is the share of the gradients
    asked for that were zero or not finite. Of a sample of the attack's questions, asked again of
    the saved model, `contradicted` is the share whose scores were others, and `wrong_gradients`
    that whose gradient was.
    """

    clean_accuracy: Share
    adversarial_accuracy: Share
    robust_accuracy: Share
    unusable_gradients: Share = 0.0
    contradicted: Share = 0.0
    wrong_gradients: Share = 0.0


class LipschitzMetrics(Strict):
    """A proven bound L and the largest Jacobian norm seen, which may never exceed it.

    Scope `vector`: of all scores together (spectral norm); `score`: of each single score;
    `margin`: of every difference of two scores. The bound holds where ‖x‖₂ is at least
    `least_norm`. `source` and `baseline` are the certifier's: where it comes from, and whether it
    is a published bound that others are compared with.
    """

    bound: Positive
    sampled_jacobian: Positive
    points: Count
    scope: Literal["vector", "score", "margin"]
    least_norm: Positive = 0.0
    detail: Text | None = None
    source: Text = ""
    baseline: bool = False


class RadiiMetrics(Strict):
    """Share of images that are classified correctly and certified at each budget.

    `certified_accuracy` has one entry for each of the task's budgets. `confidence` is the
    probability with which the radius of an image is right, 1 for a proof. What is certified is the
    model, or its smoothed version where `smoothed` says so.
    """

    clean_accuracy: Share
    certified_accuracy: list[Share]
    confidence: Share
    smoothed: bool = False
    detail: Text | None = None
    source: Text = ""


class ChecksMetrics(Strict):
    """What the checks of a model measured.

    `values` holds shares of images, or 0 and 1, by what does not hold (see `evaluation.checks`),
    and the robust accuracy of the protocol's first attack within the whole box (`large_eps`);
    `chance` is one over the number of classes.
    """

    images: Annotated[Count, Field(ge=1)]
    chance: Share
    values: dict[Name, Share]


class FreshMetrics(Strict):
    """Accuracy on new images, and beside it, by the same attack, that on the protocol's images."""

    clean_accuracy: Share
    robust_accuracy: Share
    frozen_clean_accuracy: Share
    frozen_robust_accuracy: Share


METRICS: dict[Kind, type[Strict]] = {
    "training": TrainingMetrics,
    "attack": AccuracyMetrics,
    "transfer": AccuracyMetrics,
    "lipschitz": LipschitzMetrics,
    "radii": RadiiMetrics,
    "checks": ChecksMetrics,
    "fresh": FreshMetrics,
    "challenge": AccuracyMetrics,
}
WITH_OUTCOMES: frozenset[Kind] = frozenset({"attack", "transfer", "radii", "challenge"})
Metrics = (
    TrainingMetrics
    | AccuracyMetrics
    | LipschitzMetrics
    | RadiiMetrics
    | ChecksMetrics
    | FreshMetrics
)


class Cost(Strict):
    """What a task took: seconds, images passed through the model, and images differentiated."""

    wall_s: Positive
    forward: Count = 0
    gradient: Count = 0


class Device(Strict):
    """How circuits were run, where their scores are not exactly those of the circuit.

    `simulated` says that noise was computed, not met. Dates are ISO 8601, `jobs` the ids at the
    service, and the signal scale is the slope of the device's scores on the exact ones.
    """

    name: Text | None = None
    simulated: bool = True
    calibrated: Text | None = None
    date: Text | None = None
    jobs: list[Text] = Field(default_factory=list)
    signal_scale: float | None = None


class Failure(Strict):
    """Why a task failed: the type of the exception, and its last frames, innermost last."""

    type: Text
    frames: list[Text] = Field(default_factory=list)


class Record(Strict):
    """The result of one task.

    Args:
        task: Its identity.
        status: Done, skipped (it says of itself that it cannot be done) or failed.
        reason: Why it is not done.
        failure: More about a failure.
        label: The attack as it is shown: its name, and what differs from the protocol's parameters.
        weights: SHA-256 of the target's weights (`weights.fingerprint`).
        device: Present where scores are not exact: shots, noise, hardware.
        metrics: What came out, by the kind of the task.
        cost: What it took.
        environment: Short hash of the versions it ran with, which the store keeps once.
        outcomes: SHA-256 of the per-image outcomes, None where there are none.
    """

    task: Identity
    status: Status
    reason: Text | None = None
    failure: Failure | None = None
    label: Text | None = None
    weights: Sha256 | None = None
    device: Device | None = None
    metrics: Metrics | None = None
    cost: Cost
    environment: Name
    outcomes: Sha256 | None = None

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_the_kind(cls, given: Any, info: ValidationInfo) -> Any:
        # The union of metrics is told apart by the task, never by what happens to fit.
        if isinstance(given, dict) and isinstance(given.get("metrics"), dict):
            task = given.get("task")
            kind = task.get("kind") if isinstance(task, dict) else None
            if kind in METRICS:
                given = {**given, "metrics": METRICS[kind].model_validate(given["metrics"])}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        kind, done = self.task.kind, self.status == "done"
        if done != (self.metrics is not None) or done == (self.reason is not None):
            raise ValueError("a done record has metrics and no reason, any other the reverse")
        if self.metrics is not None and not isinstance(self.metrics, METRICS[kind]):
            raise ValueError(f"metrics of another kind than {kind}")
        if done and self.weights is None:
            raise ValueError("a done record names its weights")
        if (self.outcomes is not None) != (done and kind in WITH_OUTCOMES):
            raise ValueError("per-image outcomes missing, or of a task that has none")
        if isinstance(self.metrics, RadiiMetrics) and (
            self.task.kind != "radii" or len(self.metrics.certified_accuracy) != len(self.task.eps)
        ):
            raise ValueError("one certified accuracy is due for each budget")
        if kind in ("attack", "transfer", "challenge") and self.label is None:
            raise ValueError("an attack without a label")
        return self

    @property
    def id(self) -> str:
        """The result's name: its identity's."""
        return self.task.id

    @property
    def exact(self) -> bool:
        """Whether scores are the model's own: no shots, no noise. Certificates are about such."""
        return self.device is None

    @property
    def title(self) -> str:
        """What it is, in words."""
        return title(self.task, self.label)

    def to_json(self) -> str:
        """One line with sorted keys; what has its default value is left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        values["task"]["kind"] = self.task.kind
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Parse and validate.

        Raises:
            ValueError: It is no record; `pydantic.ValidationError` where it is JSON.
        """
        try:
            given = json.loads(text, object_pairs_hook=_unique)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        return cls.model_validate(given)


def title(task: Identity, label: str | None = None) -> str:
    """A task in words, for progress and messages."""
    engine, model = getattr(task, "engine", None), task.model.name
    if engine is not None and engine.shots is not None:
        model = str(ModelName(model, engine.name, engine.shots))
    words = f"{task.kind} of {model} seed {task.model.seed}"
    if task.kind in ("attack", "transfer"):
        words += f" under {label or task.attack.name}({task.eps:g})"
    if task.kind == "transfer":
        words += f" on images made for {task.source.name}"
    if task.kind == "challenge":
        words += f" at {task.eps:g}, sent by {task.sender}"
    if task.kind in ("lipschitz", "radii") and task.certifier is not None:
        words += f" by {task.certifier.name}"
    if task.kind == "radii":
        words += f" in {task.norm}"
    return words


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


class Recipe(Strict):
    """How a model was trained, see `specs.Recipe`."""

    epochs: Count
    learning_rate: float
    batch_size: Count
    regularisation: float = 0.0
    adversarial_eps: float = 0.0
    adversarial_steps: Count = 0
    adversarial_warmup: Count = 0
    trades: float = 0.0
    gradient_penalty: float = 0.0
    optimizer: Name = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def gradients(self) -> int:
        """Images that are differentiated for each image of an epoch, itself and those of attacks.

        TRADES passes the clean image and the attacked one. The penalty on the gradient takes the
        gradient, and two images to either side of it.
        """
        attacked = self.adversarial_steps + (self.trades > 0) if self.adversarial_eps else 0
        return 1 + attacked + 3 * (self.gradient_penalty > 0)

    @model_serializer(mode="wrap")
    def _stated(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what need not be said, as `specs.Recipe.stated`."""
        return {key: value for key, value in whole(self).items() if UNSTATED.get(key) != value}


class Card(Strict):
    """Facts that all records of one model share; `variant_of` names the model it varies.

    `tuning` says how the recipe was chosen, and is empty where nobody said.
    `version` is the plugin's: of the installed package, or the SHA-256 of its file. `engine` runs
    the model's circuits unless another one is asked for; cards of long ago do not say.
    """

    name: Name
    revision: Annotated[int, Field(ge=1)] = 1
    family: Literal["quantum", "classical"]
    structure: Text
    description: Text
    plugin: Text
    version: Text
    parameters: Count | None = None
    recipe: Recipe
    variant_of: Name | None = None
    tuning: Text = ""
    stochastic: bool = False
    engine: Name | None = None
    paper: Text = ""
    licence: Text = ""
    authors: Text = ""


Environment = dict[str, Text]
Params = dict[str, Scalar]
