"""Types that every stored value is made of: strict, frozen, without hidden characters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from qbench.text import is_hidden

LONGEST = 2000  # characters of a text


def _visible(text: str) -> str:
    if any(is_hidden(character) for character in text):
        raise ValueError("holds control or invisible characters")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=200)]
Text = Annotated[str, Field(max_length=LONGEST), AfterValidator(_visible)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Revision = Annotated[int, Field(ge=1, lt=2**31)]
Positive = Annotated[float, Field(ge=0, lt=1e9)]
Norm = Literal["linf", "l2"]
Scalar = bool | int | float | Text | None


class Strict(BaseModel):
    """A value without coercion, unknown fields, NaN or infinity."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def canonical_sha256(data: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
