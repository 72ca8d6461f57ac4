"""Weights of the models that `assets/classifiers.js` can run in a browser."""

from __future__ import annotations

import base64
from typing import Any

from qbench.errors import QbenchError
from qbench.records.record import Card
from qbench.registry import load_registry
from qbench.weights.files import fingerprint, unpack
from qbench.weights.zoo import Zoo, file_name

# What the factory of a model makes, and what classifiers.js calls it. All else that scores depend
# on is told by the shapes of the weights.
_KINDS = {
    "qbench_quantum.models:ReUpload": "reupload",
    "qbench_quantum.models:SplitReUpload": "split",
    "qbench_quantum.models:Amplitude": "amplitude",
    "qbench_classical.models:ConvNet": "convnet",
    "qbench_classical.models:Fourier": "fourier",
}


def live_model(card: Card, seed: int, weights: str | None) -> dict[str, Any] | None:
    """A trained model as `qbenchClassifiers.model` reads it: its kind, and its weights by name.

    Args:
        card: Of the model on the board.
        seed: Which of its trainings.
        weights: Fingerprint of the weights that the board's records are about.

    Returns:
        None where classifiers.js does not know the model, or the zoo that ships with qbench has
        other weights than the records, or none.
    """
    try:
        spec = load_registry().get("model", card.name).spec
        kind = _KINDS.get(spec.factory)
        if kind is None or spec.revision != card.revision:
            return None
        file = file_name(card.name, seed)
        state, _ = unpack(Zoo().read(card.name, seed), file)
    except QbenchError:
        return None
    if fingerprint(state.weights) != weights:
        return None
    tensors = {
        name: {
            "shape": list(value.shape),
            "data": base64.b64encode(value.numpy().astype("<f4").tobytes()).decode(),
        }
        for name, value in sorted(state.weights.items())
    }
    return {"kind": kind, "tensors": tensors}
