"""From records to a leaderboard: tables, pictures and a machine-readable copy.

Everything here is a pure function of records and their side files. All of it but `attack_costs` and
`certificate_costs` leaves out how long anything took, so that equal results give equal bytes.
"""

from __future__ import annotations

from qbench.reporting.certificate_costs import certificate_costs
from qbench.reporting.costs import attack_costs
from qbench.reporting.leaderboard import build
from qbench.reporting.samples import write_sample_sheet
from qbench.reporting.summary import summary_table

__all__ = ["attack_costs", "build", "certificate_costs", "summary_table", "write_sample_sheet"]
