"""What `import qbench` offers: load, adapt, evaluate, certify and hand on models, read results."""

from __future__ import annotations

from qbench.adapters import adapt
from qbench.api.certificates import Certificates, certify
from qbench.api.evaluation import Evaluation, Evaluations, evaluate
from qbench.api.interop import to_art, to_foolbox
from qbench.api.loading import Records, load_dataset, load_model, load_published, results

__all__ = [
    "Certificates",
    "Evaluation",
    "Evaluations",
    "Records",
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
