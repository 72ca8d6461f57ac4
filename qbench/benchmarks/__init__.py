"""How fast the engines are: beside other simulators, against the arithmetic, and at scale."""

from __future__ import annotations

from qbench.benchmarks.contenders import contenders
from qbench.benchmarks.measure import Settings, measure, steps
from qbench.benchmarks.page import Page, page
from qbench.benchmarks.report import Report

__all__ = ["Page", "Report", "Settings", "contenders", "measure", "page", "steps"]
