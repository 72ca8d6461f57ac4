"""Which engine the circuits of a model run on: its own attribute `engine`, or that of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from qbench.interfaces import Engine


def engine_of(model: nn.Module) -> Engine | None:
    """The engine of a model's circuits, of the first part that runs some; None for no circuits."""
    return next((part.engine for part in _parts(model)), None)


def use_engine(model: nn.Module, engine: Engine) -> None:
    """Let all circuits of a model run on an engine from now on."""
    for part in _parts(model):
        part.engine = engine


@contextmanager
def on_engine(model: nn.Module, engine: Engine) -> Iterator[None]:
    """Let all circuits of a model run on an engine for the time of the block."""
    own = [(part, part.engine) for part in _parts(model)]
    use_engine(model, engine)
    try:
        yield
    finally:
        for part, before in own:
            part.engine = before


def _parts(model: nn.Module) -> list[Any]:
    """The modules in a model that run circuits, itself included (`interfaces.CircuitModule`)."""
    return [part for part in model.modules() if isinstance(getattr(part, "engine", None), Engine)]
