"""Scores before a last step that flattens them, read off the model's own computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions of every single score that never reverse the order of two scores. Some of them are flat
# somewhere, in exact or in floating-point arithmetic, so that no gradient comes back through them.
_MONOTONE = frozenset(
    {
        "tanh", "sigmoid", "expit", "special_expit", "logsigmoid", "hardtanh", "hardsigmoid",
        "softsign", "softplus", "relu", "relu6", "elu", "celu", "selu", "leaky_relu", "clamp",
        "clip", "clamp_min", "clamp_max", "round", "floor", "ceil", "trunc", "fix", "sign", "sgn",
        "erf", "special_erf", "atan", "arctan", "asinh", "arcsinh", "exp", "expm1", "log",
        "log1p", "log2", "log10", "sqrt", "nan_to_num", "detach", "clone", "contiguous", "to",
        "float", "double", "type",
    }
)  # fmt: skip
# Functions of an image's scores together that keep their order.
_SOFTMAX = frozenset({"softmax", "log_softmax", "special_softmax", "special_log_softmax"})
_TIMES, _OVER = frozenset({"mul", "multiply", "rmul"}), frozenset({"div", "divide", "truediv"})
_PLUS = frozenset({"add", "radd"})
_MINUS = frozenset({"sub", "subtract"})


class Tape(TorchFunctionMode):
    """Notes, while a model runs, which tensor an order-preserving call was made from.

    Softmax of large scores, tanh, rounding and the like keep the order of the scores, and with it
    every prediction, but no gradient comes back through them. A loss of what they were made from
    has one. Carlini and Wagner 2017 (Sec. V) attack logits for that reason, and Tramèr et al. 2020
    (Sec. 3) name it as the first thing to look for.
    """

    def __init__(self) -> None:
        super().__init__()
        # By the identity of the result, which is held so that no other tensor takes it over.
        self._made: dict[int, tuple[Tensor, Tensor | Sequence[Tensor]]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function; where it keeps the order of scores, note its source."""
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.dim() >= 2:
            name = getattr(func, "__name__", "").strip("_")
            source = _source(name, args, kwargs or {})
            if source is not None and source is not made:
                self._made[id(made)] = made, source
        return made

    def before(self, scores: Tensor) -> Tensor:
        """What scores (n, classes) were made from by calls that keep their order, (n, classes).

        The scores themselves where the last call was none of those, or where what was found would
        predict another class or has no gradient while they have one. Of a mean over stacked
        passes, as expectation over transformation takes it, the mean of what each was made from.
        """
        found = scores
        while (made := self._made.get(id(found))) is not None:
            source = made[1]
            if not isinstance(source, Tensor):
                return found
            if source.dim() == 3:
                passes = self._made.get(id(source))
                if passes is None or isinstance(passes[1], Tensor):
                    break
                return torch.stack([self.before(one) for one in passes[1]]).mean(0)
            found = source
        if found is scores or found.shape != scores.shape:
            return scores
        if scores.requires_grad and not found.requires_grad:
            return scores
        chosen = scores.gather(1, found.argmax(1, keepdim=True))
        return found if bool((chosen == scores.amax(1, keepdim=True)).all()) else scores


def _source(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Tensor | Sequence[Tensor] | None:
    """What a call of the function of this name kept the order of; None where it need not have."""
    first = args[0] if args else kwargs.get("input")
    if name == "stack":
        if isinstance(first, list | tuple) and all(one.dim() == 2 for one in first):
            return tuple(first)
        return None
    if not isinstance(first, Tensor):
        # A number times scores.
        swapped = len(args) == 2 and name in _TIMES | _PLUS and isinstance(args[1], Tensor)
        return _source(name, (args[1], first), kwargs) if swapped else None
    if name == "mean":
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        return first if first.dim() == 3 and dim == 0 else None
    if first.dim() != 2 or not first.is_floating_point():
        return None
    if name in _MONOTONE:
        return first
    if name in _SOFTMAX:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        return first if dim in (1, -1) else None
    if name in _TIMES | _OVER | _PLUS | _MINUS:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if _alike(other, first) and (name in _PLUS | _MINUS or _positive(other)):
            return first
        if name in _TIMES | _PLUS and isinstance(other, Tensor) and other.dim() == 2:
            return other if _alike(first, other) and (name in _PLUS or _positive(first)) else None
    return None


def _alike(other: Any, scores: Tensor) -> bool:
    """Whether it is one and the same number for all scores of an image."""
    if isinstance(other, int | float):
        return True
    if not isinstance(other, Tensor):
        return False
    one = other.dim() == 0 or other.shape[-1] == 1
    return one and other.dim() <= 2 and scores.shape[-1] > 1


def _positive(other: Any) -> bool:
    return bool((other > 0).all()) if isinstance(other, Tensor) else other > 0
