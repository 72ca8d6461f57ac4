"""`qbench.adapt`: anyone's classifier as a torch module that qbench can evaluate."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from qbench.adapters import pennylane
from qbench.adapters.base import Adapted
from qbench.adapters.functions import AdaptedFunction
from qbench.adapters.gradients import Estimate
from qbench.adapters.layout import Wanted
from qbench.adapters.outputs import Outputs
from qbench.adapters.sklearn import AdaptedEstimator, is_estimator
from qbench.adapters.torch_module import AdaptedModule
from qbench.errors import UsageError

__all__ = ["Adapted", "adapt"]


def adapt(
    thing: Any,
    *,
    shape: tuple[int, ...] | None = None,
    outputs: Outputs | None = None,
    select: str | int | None = None,
    gradient: Estimate | None = None,
    shots: int | None = None,
) -> Adapted:
    """A torch module from images (n, features) to scores (n, classes) out of any classifier.

    Takes a torch module (also with PennyLane's `TorchLayer` or Qiskit's `TorchConnector` in it), a
    PennyLane QNode of the images alone, a fitted scikit-learn classifier, or a function on torch
    tensors or NumPy arrays. What is not said here is found out at the first call, from made-up
    images, and `print` of the result says what was found.

    Args:
        thing: The classifier.
        shape: Of one image as it takes it, e.g. `(1, 28, 28)`; found out: flat, or the data set's
            rows and columns with or without a channel.
        outputs: `"logits"`, `"probabilities"` or `"log-probabilities"`. Probabilities become their
            logarithms, so that cross-entropy is that of the model. A single output z is made
            −z/2 and z/2: above 0 means class 1, and for a probability above 0.5.
        select: Key or position of the scores where it returns several things; found out: the
            entry `"logits"`, the only table of scores, or single columns side by side.
        gradient: `"finite-differences"` (2 · features passes an image) or `"spsa"` (128 passes) to
            estimate the gradient by the images; None for the model's own, if it has one.
        shots: Runs of each PennyLane circuit; None for the device's own.

    Raises:
        UsageError: It is nothing that can be adapted, or an argument does not fit it.
    """
    wanted = Wanted(None if shape is None else tuple(shape), outputs, select)
    if isinstance(thing, nn.Module):
        return AdaptedModule(thing, wanted, gradient, shots)
    if pennylane.is_qnode(thing):
        name = getattr(thing.func, "__name__", "circuit")
        qnode = pennylane.checked_qnode(thing, shots)
        return AdaptedFunction(qnode, f"PennyLane QNode {name}", wanted, gradient)
    if shots is not None:
        raise UsageError(
            f"shots are set on PennyLane circuits, not on a {type(thing).__name__}: leave shots out"
        )
    if is_estimator(thing):
        return AdaptedEstimator(thing, wanted, gradient)
    if inspect.isclass(thing):
        raise UsageError(f"{thing.__name__} is a class: give an instance, {thing.__name__}(...)")
    if callable(thing):
        name = getattr(thing, "__name__", type(thing).__name__)
        return AdaptedFunction(thing, f"function {name}", wanted, gradient)
    raise UsageError(
        f"{type(thing).__name__} is no model: give a torch module, a PennyLane QNode, a Qiskit "
        "TorchConnector, a fitted scikit-learn classifier, or a function from images to scores"
    )
