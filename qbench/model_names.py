"""Models as they are asked for and shown: a name, or a name with the engine of its circuits."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.errors import UsageError

OWN = "own"  # the engine of a model whose spec names none


@dataclass(frozen=True)
class ModelName:
    """`MODEL`, or `MODEL@ENGINE[:DEVICE][:SHOTS]`: a model on an engine.

    `reup@pennylane`, `reup-hw4@aer:marrakesh`, `reup-hw4@ibm:fake_marrakesh:4096`. A model on an
    engine has the weights of the model: only where its circuits run is another place.

    Args:
        model: The model, or a glob or `all` where several may be meant.
        engine: `NAME` or `NAME:DEVICE`; None for the model's own.
        shots: Runs of each circuit; None for exact probabilities.
    """

    model: str
    engine: str | None = None
    shots: int | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name.

        Raises:
            UsageError: It is not of this form.
        """
        model, at, where = text.partition("@")
        if not at:
            return cls(text)
        example = "write MODEL@ENGINE, such as reup@pennylane or reup@aer:marrakesh:4096"
        if "@" in where:
            raise UsageError(f"model {text!r} names two engines: {example}")
        if not model or not where:
            raise UsageError(f"model {text!r} names no {'engine' if model else 'model'}: {example}")
        engine, colon, last = where.rpartition(":")
        shots = None
        if colon and last.isdecimal() and last.isascii():
            where, shots = engine, int(last)
        return cls(model, None if where == OWN else where, shots)

    def __str__(self) -> str:
        if not self.elsewhere:
            return self.model
        shots = "" if self.shots is None else f":{self.shots}"
        return f"{self.model}@{self.engine or OWN}{shots}"

    @property
    def elsewhere(self) -> bool:
        """Whether it asks for another engine than the model's own, or for shots."""
        return self.engine is not None or self.shots is not None


def with_engine(text: str, engine: str | None, shots: int | None) -> ModelName:
    """A name, with the engine and shots that were asked for beside it.

    Raises:
        UsageError: The name has an engine already, or is not of its form.
    """
    name = ModelName.parse(text)
    if "@" in text and (engine is not None or shots is not None):
        beside = "engine" if engine is not None else "shots"
        raise UsageError(
            f"model {text!r} names its engine, and {beside} is given for all: give the one or the "
            "other"
        )
    return name if "@" in text else ModelName(name.model, engine, shots)
