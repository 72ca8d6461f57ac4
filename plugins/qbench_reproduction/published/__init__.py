"""The checkpoints that the authors of arXiv:2404.16154 published, on their own images."""

from __future__ import annotations

from qbench_reproduction.published.evaluation import evaluate_published, steps
from qbench_reproduction.published.page import section
from qbench_reproduction.published.picture import figure
from qbench_reproduction.published.results import PublishedResults

__all__ = ["PublishedResults", "evaluate_published", "figure", "section", "steps"]
