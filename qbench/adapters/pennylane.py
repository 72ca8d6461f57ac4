"""PennyLane's QNodes and TorchLayers. PennyLane is not imported before its user has done so."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from qbench.errors import UsageError


def is_qnode(thing: object) -> bool:
    """Whether it is a QNode."""
    pennylane = sys.modules.get("pennylane")
    return pennylane is not None and isinstance(thing, pennylane.QNode)


def checked_qnode(qnode: Any, shots: int | None) -> Any:
    """A QNode of images alone, with a number of shots if one is asked for.

    Raises:
        UsageError: It needs other arguments too.
    """
    parameters = inspect.signature(qnode.func).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if len(needed) != 1:
        name = getattr(qnode.func, "__name__", "circuit")
        raise UsageError(
            f"the QNode {name!r} takes {', '.join(needed) or 'nothing'}: adapt a function of the "
            f"images alone, such as lambda x: {name}(x, weights)"
        )
    return qnode if shots is None else _with_shots(qnode, shots)


def layers(module: nn.Module) -> list[Any]:
    """The TorchLayers in a module, itself included."""
    pennylane = sys.modules.get("pennylane")
    if pennylane is None:
        return []
    return [part for part in module.modules() if isinstance(part, pennylane.qnn.TorchLayer)]


def check_layers(module: nn.Module, shots: int) -> None:
    """Raise `UsageError` unless the module has TorchLayers that can be run for so many shots."""
    if not layers(module):
        raise UsageError(
            f"{type(module).__name__} has no PennyLane layer whose shots could be set: leave "
            "shots out"
        )
    if shots < 1:
        raise UsageError(f"{shots} shots; give at least 1, or leave shots out")


@contextmanager
def changed_layers(module: nn.Module, shots: int | None, one_by_one: bool) -> Iterator[None]:
    """For the time of the block, TorchLayers run with other shots, or image by image.

    Some of PennyLane's derivatives (parameter-shift, finite differences, SPSA) know no circuits
    with a batch of inputs; image by image they are the same circuits without one.

    Args:
        module: Where the layers are.
        shots: Of every circuit; None for the layers' own.
        one_by_one: Whether a circuit with a batch becomes one circuit an image.
    """
    before = [(layer, layer.qnode) for layer in layers(module)] if shots or one_by_one else []
    try:
        for layer, qnode in before:
            changed = qnode if shots is None else _with_shots(qnode, shots)
            layer.qnode = _expanded(changed) if one_by_one else changed
        yield
    finally:
        for layer, qnode in before:
            layer.qnode = qnode


def _with_shots(qnode: Any, shots: int) -> Any:
    import pennylane as qml

    return qml.set_shots(qnode, shots=shots)


def _expanded(qnode: Any) -> Any:
    import pennylane as qml

    return qml.transforms.broadcast_expand(qnode)
