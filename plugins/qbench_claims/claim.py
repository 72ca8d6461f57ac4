"""A claim of a paper, and the rule by which measured results judge it: one TOML file each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qbench.errors import DataError, UnknownNameError
from qbench.registry import Registry

Measure = Literal[
    "clean",
    "robust",
    "worst",
    "transfer",
    "transfer-loss",
    "certified",
    "test-accuracy",
    "lipschitz",
    "high-frequencies",
    "towards-class",
    "meaningful",
    "background",
    "gradient",
    "smoothgrad",
]
_NEEDS: dict[str, tuple[str, ...]] = {
    "robust": ("attack", "eps"),
    "worst": ("eps",),
    "transfer": ("source", "attack", "eps"),
    "transfer-loss": ("source", "attack", "eps"),
    "certified": ("eps",),
    "test-accuracy": ("epoch",),
    "lipschitz": ("certifier",),
}
_EACH = "{each}"
EVERY = "every attack"  # on record, in place of the name of one: of transfer


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Quantity(_Strict):
    """Something measured of a model; what it needs beside the model depends on the measure.

    Args:
        measure: `clean`: clean accuracy. `robust`: accuracy under `attack` at `eps`, of images that
            are classified correctly before it too. `worst`: that under everything on record.
            `transfer`: on images that the attack made for `source`, or those of `every attack` on
            record; `transfer-loss`: clean accuracy minus that. `certified`: share of images with a
            certified radius of `eps`. `test-accuracy`: after training epoch `epoch`. `lipschitz`:
            the bound of `certifier`. The others are of the perturbations that PGD makes at
            ε = 0.1, see `patterns`.
        model: Its name, or `{each}`.
        source, attack, eps, epoch, certifier: See above.
    """

    measure: Measure
    model: str
    source: str | None = None
    attack: str | None = None
    eps: Annotated[float, Field(gt=0)] | None = None
    epoch: Annotated[int, Field(ge=1)] | None = None
    certifier: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Quantity:
        given = {
            name
            for name in ("source", "attack", "eps", "epoch", "certifier")
            if getattr(self, name) is not None
        }
        needs = set(_NEEDS.get(self.measure, ()))
        if given != needs:
            words = ", ".join(_NEEDS.get(self.measure, ())) or "nothing"
            raise ValueError(f"{self.measure!r} takes model and {words}")
        if self.attack == EVERY and self.source is None:
            raise ValueError(f"{EVERY!r} is for transfer; 'worst' is accuracy under all of them")
        return self

    def of(self, each: str) -> Quantity:
        """The quantity with `{each}` replaced by a model."""
        model, source = (
            None if name is None else name.replace(_EACH, each)
            for name in (self.model, self.source)
        )
        return self.model_copy(update={"model": model, "source": source})

    def __str__(self) -> str:
        with_eps = "" if self.eps is None else f", ε = {self.eps:g}"
        detail = {
            "robust": f"accuracy under {self.attack}{with_eps}",
            "worst": f"worst case{with_eps}",
            "transfer": f"accuracy on images made for {self.source} by {self.attack}{with_eps}",
            "transfer-loss": f"accuracy lost to images made for {self.source} by "
            f"{self.attack}{with_eps}",
            "certified": f"certified accuracy{with_eps}",
            "clean": "clean accuracy",
            "test-accuracy": f"test accuracy after epoch {self.epoch}",
            "lipschitz": f"Lipschitz bound {self.certifier}",
            "high-frequencies": "share of a perturbation's energy in high frequencies",
            "towards-class": "cosine of a perturbation and the way to the nearest other class",
            "meaningful": "share of a perturbation on pixels by which the two classes differ",
            "background": "share of a perturbation on pixels that no training image inks",
            "gradient": "cosine of a perturbation and the gradient",
            "smoothgrad": "cosine of a perturbation and SmoothGrad",
        }[self.measure]
        return f"{detail} of {self.model}"


class Rule(_Strict):
    """One comparison: it holds where the 95 % interval of left − right lies on the right side.

    Args:
        says: What it tests, in words.
        left, right: What is compared; `right` may be a number.
        above, below: The limit that left − right must exceed, or stay below; one of the two.
        each: Models that stand for `{each}` in turn; the rule is then one a model.
    """

    says: str
    left: Quantity
    right: Quantity | float = 0.0
    above: float | None = None
    below: float | None = None
    each: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _one_limit(self) -> Rule:
        if (self.above is None) == (self.below is None):
            raise ValueError("a rule has either 'above' or 'below'")
        return self

    def cases(self) -> tuple[Rule, ...]:
        """The rule for each of its models."""
        if not self.each:
            return (self,)
        return tuple(
            self.model_copy(
                update={
                    "says": self.says.replace(_EACH, each),
                    "left": self.left.of(each),
                    "right": self.right if isinstance(self.right, float) else self.right.of(each),
                    "each": (),
                }
            )
            for each in self.each
        )


class Claim(_Strict):
    """What a paper claims.

    Args:
        name: Of its file.
        paper: Authors and year.
        reference: arXiv number or journal.
        statement: In our words.
        protocol: The one whose results judge it.
        rule: The comparisons; the claim holds where all of them hold.
        missing: What is needed to test it, or the rest of it; empty where nothing is.
    """

    name: str
    paper: str
    reference: str
    statement: str
    protocol: str = "glyphs-linf-v1"
    rule: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    missing: str = ""

    @model_validator(mode="after")
    def _testable(self) -> Claim:
        if not self.rule and not self.missing:
            raise ValueError("a claim has a 'rule', or says what is 'missing' to test it")
        return self

    def cases(self) -> tuple[Rule, ...]:
        """Every comparison."""
        return tuple(case for rule in self.rule for case in rule.cases())


def read_claim(name: str, content: str) -> Claim:
    """A claim from the TOML of its file.

    Raises:
        DataError: It is no claim; the message names file, field and fault.
    """
    try:
        found: dict[str, Any] = tomllib.loads(content)
        return Claim.model_validate({**found, "name": name})
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"claim {name}: no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"claim {name}: {where}: {first['msg']}") from error


@cache
def ledger() -> tuple[Claim, ...]:
    """Every claim of the ledger, by name."""
    folder = resources.files("qbench_claims") / "ledger"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return tuple(
        read_claim(file.name.removesuffix(".toml"), file.read_text(encoding="utf-8"))
        for file in files
        if file.name.endswith(".toml")
    )


def chosen(names: Sequence[str]) -> tuple[Claim, ...]:
    """Claims by name, or by the beginning of their names; all where none is named.

    Raises:
        UnknownNameError: There is no such claim.
    """
    claims = ledger()
    for name in names:
        if not any(claim.name.startswith(name) for claim in claims):
            raise UnknownNameError("claim", name, (claim.name for claim in claims))
    return tuple(c for c in claims if not names or any(c.name.startswith(n) for n in names))


def check_names(claims: Iterable[Claim], registry: Registry) -> None:
    """Check that the models, attacks and certifiers of claims exist.

    Raises:
        DataError: Naming the claim and what it names.
    """
    for claim in claims:
        for case in claim.cases():
            for side in (case.left, case.right):
                if isinstance(side, float):
                    continue
                asked = {"model": (side.model, side.source), "attack": (side.attack,)}
                asked["certifier"] = (side.certifier,)
                for kind, names in asked.items():
                    for name in (one for one in names if one not in (None, EVERY)):
                        try:
                            registry.get(kind, name)  # type: ignore[call-overload]
                        except UnknownNameError as error:
                            raise DataError(f"claim {claim.name}: {error}") from error
