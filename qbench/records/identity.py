"""What makes two results the same: what was measured, in the field's terms, and nothing else.

Versions of packages, the machine, wall time, time limits, the spelling of an option, and what else
was selected are provenance: they stand in a record, but not in its identity.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from qbench.attack_strings import DATA_LABEL
from qbench.records.schema import (
    Count,
    Name,
    Norm,
    Positive,
    Revision,
    Scalar,
    Seed,
    Sha256,
    Strict,
    Text,
    canonical_sha256,
)

Sender = Annotated[Text, Field(max_length=100, pattern=r"^\S(.*\S)?$")]


class Protocol(Strict):
    """A protocol by name and content."""

    name: Name
    sha256: Sha256


class Data(Strict):
    """Images: a data set by name and content, its split, and how many of it were used.

    The name holds the parameters that are not the usual ones: `glyphs:side=8`.
    """

    name: Annotated[str, Field(pattern=DATA_LABEL, max_length=200)]
    sha256: Sha256
    split: Literal["train", "test"]
    images: Annotated[Count, Field(ge=1)]


class Version(Strict):
    """A model by name and revision."""

    name: Name
    revision: Revision = 1


class Model(Version):
    """A model with the seed of its training."""

    seed: Seed


class Method(Version):
    """An attack or a certifier with every parameter it ran with."""

    params: dict[str, Scalar] = Field(default_factory=dict)


class Engine(Strict):
    """Where circuits ran.

    Args:
        name: `NAME` or `NAME:DEVICE`.
        shots: Runs of each circuit; None for exact probabilities.
        attacked: What an attack saw: this engine, or the ideal simulator of the same circuit.
        mitigation: What a device did against its errors.
    """

    name: Name
    shots: Annotated[Count, Field(ge=1)] | None = None
    attacked: Literal["engine", "ideal"] = "engine"
    mitigation: dict[str, Scalar] = Field(default_factory=dict)


class _Identity(Strict):
    protocol: Protocol
    data: Data
    model: Model

    @cached_property
    def id(self) -> str:
        """SHA-256 of the whole identity: the result's name."""
        return canonical_sha256({"schema": 2, **self.model_dump(mode="json")})

    @property
    def random_seed(self) -> int:
        """Of all randomness: a number never depends on what ran beside it."""
        return int(self.id[:15], 16)


class TrainingId(_Identity):
    """A training; `data` are the images it learns from."""

    kind: Literal["training"] = "training"


class AttackId(_Identity):
    """Robust accuracy of a model under one attack on itself."""

    kind: Literal["attack"] = "attack"
    attack: Method
    norm: Norm
    eps: Positive
    engine: Engine | None = None


class TransferId(_Identity):
    """Accuracy of a model on the images that an attack made for another model, `source`.

    Source and target were trained with the same seed; `engine` is the target's, `source_engine`
    the source's.
    """

    kind: Literal["transfer"] = "transfer"
    source: Version
    attack: Method
    norm: Norm
    eps: Positive
    engine: Engine | None = None
    source_engine: Engine | None = None

    @property
    def made_by(self) -> AttackId:
        """The attack whose images these are."""
        return AttackId(
            protocol=self.protocol,
            data=self.data,
            model=Model(name=self.source.name, revision=self.source.revision, seed=self.model.seed),
            attack=self.attack,
            norm=self.norm,
            eps=self.eps,
            engine=self.source_engine,
        )


class LipschitzId(_Identity):
    """A Lipschitz bound of a model; without certifier where none covers it."""

    kind: Literal["lipschitz"] = "lipschitz"
    certifier: Method | None


class RadiiId(_Identity):
    """Certified radii of single images in a norm, decided at least at the budgets `eps`.

    With an `engine`, they are those of what it computes with shots; without, of the exact model.
    """

    kind: Literal["radii"] = "radii"
    certifier: Method | None
    norm: Norm
    eps: list[Positive]
    engine: Engine | None = None

    @model_serializer(mode="wrap")
    def _stated(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the engine where there is none: such radii are named as they always were."""
        return {key: one for key, one in whole(self).items() if key != "engine" or one is not None}


class FreshId(_Identity):
    """Accuracy, clean and under an attack, on new images of the data set's generator."""

    kind: Literal["fresh"] = "fresh"
    revision: Revision
    images: Annotated[Count, Field(ge=1)]
    images_sha256: Sha256
    attack: Method
    norm: Norm
    eps: Positive


class ChallengeId(_Identity):
    """Accuracy of a model on adversarial images that somebody sent.

    Args:
        norm, eps: The budget that they keep to.
        images_sha256: Fingerprint of the images and of which of the protocol's they stand for.
        sender: Who sent them, in their own words.
    """

    kind: Literal["challenge"] = "challenge"
    norm: Norm
    eps: Positive
    images_sha256: Sha256
    sender: Sender


class ChecksId(_Identity):
    """Fixed probes of a model, the same whatever else is run."""

    kind: Literal["checks"] = "checks"
    revision: Revision
    engine: Engine | None = None


Identity = Annotated[
    TrainingId | AttackId | TransferId | LipschitzId | RadiiId | ChecksId | FreshId | ChallengeId,
    Field(discriminator="kind"),
]
Kind = Literal[
    "training", "attack", "transfer", "lipschitz", "radii", "checks", "fresh", "challenge"
]
