"""qbench: adversarial robustness of quantum and classical classifiers, side by side.

>>> import qbench
>>> model, glyphs = qbench.load_model("reup", seed=0), qbench.load_dataset("glyphs")
>>> print(qbench.evaluate(model, attack="pgd", eps=0.1))  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qbench.adapters import adapt
    from qbench.api import (
        Certificates,
        Evaluation,
        Evaluations,
        certify,
        evaluate,
        load_dataset,
        load_model,
        load_published,
        results,
        to_art,
        to_foolbox,
    )
    from qbench.datasets.base import Dataset

__all__ = [
    "Certificates",
    "Dataset",
    "Evaluation",
    "Evaluations",
    "adapt",
    "certify",
    "evaluate",
    "load_dataset",
    "load_model",
    "load_published",
    "results",
    "to_art",
    "to_foolbox",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: nothing heavy before it is asked for.
    if name in __all__:
        module = {"Dataset": "qbench.datasets.base", "adapt": "qbench.adapters"}.get(name)
        return getattr(import_module(module or "qbench.api"), name)
    raise AttributeError(f"module 'qbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
