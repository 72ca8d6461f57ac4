"""Certificates of data re-uploading circuits."""

from __future__ import annotations

from qbench.specs import CertifierSpec

SPECS = (
    CertifierSpec(
        name="circuit-bound",
        description="sum over gates of the norm of the gate's weights; holds for each score",
        factory="qbench_certificates.reupload.circuit_bound:CircuitBound",
        structures=("reupload-circuit",),
        source="Berberich et al. 2023, arXiv:2311.11871, bound for one observable",
    ),
)
