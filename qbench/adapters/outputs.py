"""What a classifier returns, read as one row of scores for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from qbench.errors import DataError

Outputs = Literal["logits", "probabilities", "log-probabilities"]
OUTPUTS: tuple[Outputs, ...] = ("logits", "probabilities", "log-probabilities")
_SUM = 1e-4  # how far probabilities may be from a sum of 1


class MismatchError(Exception):
    """What came back is no row of scores for each image."""


def tables(returned: object, images: int | None, select: str | int | None) -> dict[bool, Tensor]:
    """What came back as tables (images, columns), by whether they had to be transposed.

    Args:
        returned: A tensor, an array, or several of them in a tuple, list or mapping.
        images: How many images were handed over; None for one without a batch dimension.
        select: Key or position of the scores among several outputs; None to find out.

    Raises:
        MismatchError: It can be read in no way.
        DataError: There are several outputs and it is not clear which are the scores.
    """
    chosen = _chosen(returned, images, select)
    if images is None:
        return {False: _floating(chosen.reshape(1, -1))}
    if chosen.dim() == 1 and len(chosen) == images:
        return {False: _floating(chosen[:, None])}
    found = {}
    if chosen.dim() >= 2 and max(chosen.shape[2:], default=1) == 1:
        if len(chosen) == images:
            found[False] = _floating(chosen.reshape(images, -1))
        # PennyLane's TorchLayer stacks a tuple of measurements class by class.
        if chosen.shape[1] == images:
            found[True] = _floating(chosen.reshape(-1, images).T)
    if not found:
        raise MismatchError(f"it gives {tuple(chosen.shape)} for {images} images")
    return found


def _chosen(returned: object, images: int | None, select: str | int | None) -> Tensor:
    if select is not None:
        try:
            return _tensor(returned[select])  # type: ignore[index]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"the model returns {_what(returned)}, and none of them is {select!r}: name one "
                "with select="
            ) from error
    if isinstance(returned, Mapping):
        if "logits" in returned:
            return _tensor(returned["logits"])
        if len(returned) == 1:
            return _tensor(next(iter(returned.values())))
        raise _unclear(returned)
    if isinstance(returned, list | tuple):
        return _of_several(returned, images)
    return _tensor(returned)


def _of_several(returned: Sequence[Any], images: int | None) -> Tensor:
    """The scores among several outputs: the only table, or single columns side by side."""
    parts = [_tensor(part) for part in returned]
    if len(parts) == 1:
        return parts[0]
    n = images or 1
    if parts and all(part.numel() == n for part in parts):
        return torch.stack([part.reshape(n) for part in parts], 1)
    whole = [part for part in parts if part.numel() > n and part.numel() % n == 0]
    if len(whole) == 1:
        return whole[0]
    raise _unclear(returned)


def _unclear(returned: object) -> DataError:
    return DataError(
        f"the model returns {_what(returned)}, and it is not clear which are the scores: say it "
        "with qbench.adapt(model, select=...), a key or a position"
    )


def _what(returned: object) -> str:
    if isinstance(returned, Mapping):
        return f"a mapping with {', '.join(map(repr, returned))}"
    if isinstance(returned, list | tuple):
        return f"{len(returned)} outputs"
    return f"a {type(returned).__name__}"


def _tensor(value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value.to_dense() if value.is_sparse else value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise MismatchError(f"it gives a {type(value).__name__}") from error
    if array.dtype.kind not in "fiub":
        raise MismatchError(f"it gives a {type(value).__name__}, which holds no numbers")
    return torch.as_tensor(array)


def _floating(scores: Tensor) -> Tensor:
    if scores.is_complex():
        raise MismatchError("it gives complex numbers")
    return scores if scores.is_floating_point() else scores.to(torch.get_default_dtype())


def kind_of(table: Tensor, asked: Outputs | None) -> Outputs:
    """What the columns of a table (images, columns) are.

    Args:
        table: What the model says of a few images.
        asked: What its owner says they are; None to find out.

    Raises:
        DataError: They are not what is asked, or a single column may be either.
    """
    low, high = float(table.min()), float(table.max())
    within = low >= -_SUM and high <= 1 + _SUM
    single = table.shape[1] == 1
    if asked == "probabilities" and not within:
        raise DataError(
            f"the outputs are said to be probabilities and range from {low:.3g} to {high:.3g}: "
            'say qbench.adapt(model, outputs="logits")'
        )
    if asked is not None:
        return asked
    if single and within:
        raise DataError(
            "the only output lies between 0 and 1: say qbench.adapt(model, outputs=...), "
            '"probabilities" if above 0.5 means class 1, "logits" if above 0 does'
        )
    if not single and within and _sums_to_one(table):
        return "probabilities"
    if not single and high <= _SUM and _sums_to_one(table.exp()):
        return "log-probabilities"
    return "logits"


def _sums_to_one(table: Tensor) -> bool:
    return bool(((table.sum(1) - 1).abs() <= _SUM).all())


def scores_of(table: Tensor, kind: Outputs) -> Tensor:
    """Scores (images, classes) whose softmax is the model's own probability.

    Probabilities become their logarithms, those of 0 that of the smallest number. A single column
    z becomes −z/2 and z/2, a single probability p those of 1 − p and p.
    """
    if kind == "probabilities":
        if table.shape[1] == 1:
            table = torch.cat([1 - table, table], 1)
        return table.clamp_min(torch.finfo(table.dtype).tiny).log()
    return torch.cat([-table / 2, table / 2], 1) if table.shape[1] == 1 else table
