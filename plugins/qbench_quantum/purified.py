"""Data re-uploading behind a purifier (`qbench_classical.purifier`)."""

from __future__ import annotations

from qbench.interfaces import Engine
from qbench_classical.purifier import Purified
from qbench_quantum.models import ReUpload


def purified_reupload(
    features: int = 256,
    classes: int = 4,
    code: int = 32,
    noise: float = 0.1,
    engine: Engine | None = None,
) -> Purified:
    """`ReUpload` behind a purifier.

    Args:
        features: Length of an input.
        classes: Their number.
        code: Numbers that the autoencoder squeezes an image into.
        noise: Standard deviation of the noise that it learns to take away, in pixel units.
        engine: Where the circuit runs.
    """
    classifier = ReUpload(features=features, classes=classes, engine=engine)
    return Purified(classifier, features, code, noise)
