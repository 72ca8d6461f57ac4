"""How a classifier takes images: their shape, and all at once or one at a time; found by trying."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from qbench.adapters.outputs import MismatchError, Outputs, kind_of, scores_of, tables
from qbench.errors import DataError, QbenchError, VerificationError
from qbench.text import one_line

PROBES = 4  # images that are made up to find out
Ask = Callable[[Tensor], object]
Style = Literal["batch", "batches of one", "single images"]
_STYLES: tuple[Style, ...] = ("batch", "batches of one", "single images")
_SAME = 1e-3  # of the scores' scale: what may differ between a batch and its images alone


@dataclass(frozen=True)
class Layout:
    """One way to ask a classifier about images.

    Args:
        shape: Of one image as it takes it.
        style: Whether it takes a batch, batches of one, or images without a batch dimension.
        dtype: Precision that it computes in.
        transposed: Whether it gives a row a class instead of a row an image.
        columns: Of that table.
        outputs: What they are.
        select: Key or position of the scores among several outputs.
    """

    shape: tuple[int, ...]
    style: Style
    dtype: torch.dtype
    transposed: bool = False
    columns: int = 0
    outputs: Outputs = "logits"
    select: str | int | None = None

    @property
    def classes(self) -> int:
        """How many scores an image has."""
        return max(self.columns, 2)

    def scores(self, ask: Ask, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        return scores_of(self.table(ask, x), self.outputs)

    def table(self, ask: Ask, x: Tensor) -> Tensor:
        """What the classifier says of images x (n, features), a row an image."""
        readings = self.readings(ask, x)
        if self.transposed not in readings:
            raise VerificationError("the model gives scores of another shape than before")
        return readings[self.transposed]

    def readings(self, ask: Ask, x: Tensor) -> dict[bool, Tensor]:
        """The same by whether it is transposed: of a square of scores both are possible."""
        given = x.to(self.dtype).reshape(len(x), *self.shape)
        if self.style == "batch":
            return tables(ask(given), len(x), self.select)
        single = self.style == "single images"
        images = given.unbind() if single else given.chunk(len(given))
        every = [tables(ask(one), None if single else 1, self.select) for one in images]
        return {False: torch.cat([one.get(False, next(iter(one.values()))) for one in every])}


@dataclass(frozen=True)
class Wanted:
    """What the owner of a classifier says of it; None where it is to be found out.

    Args:
        shape: Of one image.
        outputs: What its outputs are.
        select: Key or position of the scores among several outputs.
    """

    shape: tuple[int, ...] | None = None
    outputs: Outputs | None = None
    select: str | int | None = None


def probes(features: int, like: Tensor, unit: float = 1.0) -> Tensor:
    """Images (PROBES, features), uniform in [0, unit), darker and brighter; always the same."""
    generator = torch.Generator().manual_seed(features)
    made = torch.rand(PROBES, features, generator=generator, dtype=torch.float64)
    brightness = torch.arange(1, PROBES + 1, dtype=torch.float64)[:, None] / PROBES
    return (unit * brightness * made).to(like)


def likely_shapes(features: int, known: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Shapes that one image of so many features may have, the likeliest first.

    Args:
        features: How many.
        known: The shape of the data set's images, None where it has none.
    """
    shapes: list[tuple[int, ...]] = [(features,)]
    side = math.isqrt(features)
    for shape in (known, (side, side)):
        if shape is not None and math.prod(shape) == features and len(shape) > 1:
            shapes += [shape, (1, *shape)] if len(shape) > 2 else [(1, *shape), shape]
    return list(dict.fromkeys(shapes))


def find_layouts(
    ask: Ask,
    x: Tensor,
    wanted: Wanted,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[torch.dtype],
) -> tuple[list[Layout], bool]:
    """Every way to ask that gives one row an image, and alike in a batch and alone; fastest first.

    The first shape and precision that works is taken. A batch whose rows differ from what the
    images are given alone is no way to ask, unless the answers vary by themselves.

    Args:
        ask: The classifier.
        x: Images (n, features) to try it on.
        wanted: What is known of it.
        shapes: Shapes of one image to try.
        dtypes: Precisions to try.

    Returns:
        The ways, and whether answers vary from pass to pass.

    Raises:
        DataError: There is none.
    """
    complaints: list[str] = []
    for shape in shapes:
        for dtype in dtypes:
            first = Layout(shape, "batch", dtype, select=wanted.select)
            found, varies = _ways(ask, x, first, complaints)
            if found:
                return [_finished(layout, table, wanted) for layout, table in found], varies
    why = complaints[0] if complaints else "it takes no shape that was tried"
    tried = " or ".join(str(shape) for shape in shapes)
    raise DataError(
        f"the model does not take {x.dtype} images of {x.shape[1]} pixels, neither a batch nor one "
        f"at a time, of shape {tried}: {why}; say the shape of one image with "
        "qbench.adapt(model, shape=...)"
    )


def _finished(layout: Layout, table: Tensor, wanted: Wanted) -> Layout:
    return replace(layout, columns=table.shape[1], outputs=kind_of(table, wanted.outputs))


def _ways(
    ask: Ask, x: Tensor, first: Layout, complaints: list[str]
) -> tuple[list[tuple[Layout, Tensor]], bool]:
    """The styles that work for one shape and precision with what they gave, and if it varies."""
    given: list[tuple[Layout, Tensor]] = []
    for style in _STYLES:
        layout = replace(first, style=style)
        try:
            readings = layout.readings(ask, x)
            if len(readings) > 1:  # as many classes as images: fewer images tell which is which
                fewer = layout.readings(ask, x[1:])
                readings = {way: table for way, table in readings.items() if way in fewer}
        except QbenchError:
            raise
        except MismatchError as error:
            complaints.append(str(error))
        except Exception as error:  # whatever a stranger's code raises for a wrong shape
            complaints.append(f"{type(error).__name__}: {one_line(str(error), 200)}")
        else:
            given += [(replace(layout, transposed=t), table) for t, table in readings.items()]
    if not given:
        return [], False
    again = given[0][0].table(ask, x)
    varies = not torch.equal(again.nan_to_num(), given[0][1].nan_to_num())
    alone = [table for layout, table in given if layout.style != "batch"]
    if not alone:
        return given[:1], varies
    if varies:
        return [one for one in given if one[1].shape == alone[0].shape], True
    return [one for one in given if _alike(one[1], alone[0])], False


def _alike(table: Tensor, other: Tensor) -> bool:
    if table.shape != other.shape:
        return False
    # What is not finite is for the scoring to complain about.
    table, other = (values.nan_to_num(0.0, 0.0, 0.0) for values in (table, other))
    scale = float(other.abs().max().clamp_min(1e-30))
    return bool(((table - other).abs() <= _SAME * scale).all())
