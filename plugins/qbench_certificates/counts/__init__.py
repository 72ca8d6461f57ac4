"""Certificates of what a device computes, from what it counted."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="counts",
        description="the engine's own expectations, from outcomes counted, with 99.9 % confidence",
        factory="qbench_certificates.counts.certificate:Counts",
        structures=("reupload-circuit", "split-reupload-circuit", "amplitude-circuit"),
        source="Guan & Ying 2026, arXiv:2605.29877; Weber et al. 2021, arXiv:2009.10064; limits of "
        "Clopper & Pearson 1934",
        norms=("linf", "l2"),
        counted=True,
    ),
)
