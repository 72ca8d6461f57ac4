"""From results to a leaderboard: tables, pictures and copies for other programs.

Everything here is a pure function of results. All of it but `to_frame` leaves out how long anything
took, so that equal results give equal bytes.
"""

from __future__ import annotations

from qbench.report.datasets import known_dataset, write_sample_sheet
from qbench.report.export import export, to_frame
from qbench.report.flag_meanings import MEANINGS
from qbench.report.flags import flags
from qbench.report.leaderboard import Part, build, build_all, ranking_table
from qbench.report.summary import summary_table

__all__ = [
    "MEANINGS",
    "Part",
    "build",
    "build_all",
    "export",
    "flags",
    "known_dataset",
    "ranking_table",
    "summary_table",
    "to_frame",
    "write_sample_sheet",
]
